"""What the page of an organisation shows, section by section: one bounded query each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, Model, OuterRef, Q
from django.urls import reverse

from billing.changes import standing
from billing.contact.models import EmailChange
from billing.models import (
    InvoiceRef,
    Operation,
    Organization,
    Statement,
    Subscription,
    UnpricedOverage,
)
from billing.notifications.models import Notification
from config.backoffice import charts
from config.backoffice.explain import page as explain
from config.backoffice.ranges import Days
from quotas.denial_models import Denial
from quotas.models import Adjustment, Entitlement, Forgiveness, UsageCounter
from quotas.queries import CurrentEntitlement, MetricUse
from tokens.models import ActivationCode, OrgAccess, TokenFamily
from usage.models import DailyUsage, UsageEvent, UsageVoid
from webhooks.models import WebhookEvent

#: How many rows a section shows; the list behind its link has all.
ROWS = 8


@dataclass(frozen=True, slots=True)
class Section:
    """The newest rows of one table, and where the others are.

    `more`: there are others. `template` shows the rows.
    """

    title: str
    rows: list[Any]
    url: str
    more: bool
    template: str


@dataclass(frozen=True, slots=True)
class Gauge:
    """One metric in the current period, as a bar. `why_url` explains what holds now."""

    use: MetricUse
    percent: float
    why_url: str

    @property
    def width(self) -> float:
        """How much of the bar it fills, in percent."""
        return min(100.0, self.percent)

    @property
    def overage(self) -> bool:
        """Whether it goes on past the limit, for money."""
        return self.use.overage == "allow"


def gauges(org_id: str, current: CurrentEntitlement) -> list[Gauge]:
    """Return the metrics with the share of their limit that is used, in percent."""
    return [
        Gauge(use, _percent(use), explain.address(org=org_id, metric=use.metric))
        for use in current.metrics.values()
    ]


def _percent(use: MetricUse) -> float:
    if not use.included:
        return 100.0 if use.used else 0.0
    return 100 * use.used / use.included


def use_by_day(org_id: str, days: Days) -> list[charts.Chart]:
    """Return a chart for each metric that was used in `days`."""
    rows = DailyUsage.objects.filter(org_id=org_id, day__gte=days.first, day__lte=days.last)
    return charts.of_metrics(list(rows), first=days.first, last=days.last)


def all_of(org_id: str, *, now: datetime) -> list[Section]:
    """Return every section, in the order in which support asks for them (`now` is real time)."""
    return [
        denials(org_id),
        invoices(org_id),
        subscriptions(org_id),
        families(org_id),
        webhook_events(org_id),
        operations(org_id),
        periods(org_id),
        adjustments(org_id),
        resets(org_id),
        voids(org_id),
        notifications(org_id),
        email_changes(org_id),
        codes(org_id, now=now),
        statements(org_id),
    ]


def access_of(org_id: str) -> OrgAccess | None:
    """Return whether it may call at all."""
    return OrgAccess.objects.filter(org_id=org_id).first()


def subscriptions(org_id: str) -> Section:
    """Mirrors of what Stripe said, each with what it is to the organisation (`role`)."""
    rows = Subscription.objects.filter(org_id=org_id).order_by("-created_at")
    section = _section("Subscriptions", Subscription, rows, org_id, "subscriptions")
    running = [row for row in section.rows if row.status not in Subscription.TERMINAL]
    leading = standing.leading(org_id) if len(running) > 1 else None
    for row in running if leading is not None else []:
        row.role = _role(row, leads=row == leading)
    return section


def _role(row: Subscription, *, leads: bool) -> str:
    if leads:
        return "leads: it grants"
    return "paid for besides" if row.status in standing.LIVE else "does not count"


def periods(org_id: str) -> Section:
    """Counters, the newest periods first."""
    rows = UsageCounter.objects.filter(org_id=org_id).order_by("-period_start", "metric")
    unpriced = UnpricedOverage.objects.filter(counter_id=OuterRef("pk"))
    rows = rows.annotate(is_unpriced=Exists(unpriced))
    return _section("Periods", UsageCounter, rows, org_id, "periods")


def disputed(org_id: str) -> list[InvoiceRef]:
    """Return the invoices that somebody has to look at: disputed, lost, or a refund came back."""
    bad = Q(dispute_status__in=[*InvoiceRef.DISPUTE_OPEN, "lost"]) | Q(
        refund_failed_at__isnull=False
    )
    return list(InvoiceRef.objects.filter(bad, org_id=org_id).order_by("-created_at")[:ROWS])


def invoices(org_id: str) -> Section:
    """Invoices at Stripe."""
    rows = InvoiceRef.objects.filter(org_id=org_id).order_by("-created_at")
    return _section("Invoices", InvoiceRef, rows, org_id, "invoices")


def email_changes(org_id: str) -> Section:
    """Other addresses, asked for and taken."""
    rows = EmailChange.objects.filter(org_id=org_id).order_by("-created_at")
    return _section("Changes of e-mail", EmailChange, rows, org_id, "email_changes")


def statements(org_id: str) -> Section:
    """Seals of closed periods."""
    rows = Statement.objects.filter(org_id=org_id).order_by("-period_key")
    return _section("Statements", Statement, rows, org_id, "statements")


def families(org_id: str) -> Section:
    """Installations: one token family each, those that live first.

    A family's last use is its last refresh: while it works that is every ten minutes.
    """
    live_first = F("revoked_at").desc(nulls_first=True)
    rows = TokenFamily.objects.filter(org_id=org_id).order_by(live_first, "-created_at")
    return _section("Installations", TokenFamily, rows, org_id, "families")


def codes(org_id: str, *, now: datetime) -> Section:
    """Activation codes that could still be used (`now` is real time)."""
    rows = ActivationCode.objects.filter(
        org_id=org_id, used_at=None, revoked_at=None, expires_at__gt=now
    ).order_by("-created_at")
    return _section("Unused activation codes", ActivationCode, rows, org_id, "codes")


def webhook_events(org_id: str) -> Section:
    """What Stripe sent about it."""
    rows = WebhookEvent.objects.filter(org_id=org_id).order_by("-received_at").defer("payload")
    return _section("Webhook events", WebhookEvent, rows, org_id, "webhooks")


def operations(org_id: str) -> Section:
    """Plan changes and the sign-up, as they were asked of Stripe."""
    rows = Operation.objects.filter(org_id=org_id).order_by("-created_at")
    return _section(
        "Plan changes", Operation, rows.defer("request", "result"), org_id, "operations"
    )


def adjustments(org_id: str) -> Section:
    """Units that staff granted or took."""
    rows = Adjustment.objects.filter(org_id=org_id).order_by("-made_at")
    return _section("Units granted and taken", Adjustment, rows, org_id, "corrections")


def resets(org_id: str) -> Section:
    """Units that a forced reset took off the books."""
    rows = Forgiveness.objects.filter(org_id=org_id).order_by("-made_at")
    return _section("Resets", Forgiveness, rows, org_id, "corrections")


def denials(org_id: str) -> Section:
    """What was denied, by minute and reason."""
    rows = Denial.objects.filter(org_id=org_id).order_by("-minute", "-pk")
    return _section("Denials", Denial, rows, org_id, "denials")


def notifications(org_id: str) -> Section:
    """What its owners were told, each with how it went out."""
    rows = Notification.objects.filter(org_id=org_id).order_by("-created_at")
    rows = rows.prefetch_related("deliveries")
    return _section("Notifications", Notification, rows, org_id, "notifications")


def voids(org_id: str) -> Section:
    """Events that were taken back."""
    rows = UsageVoid.objects.filter(org_id=org_id).order_by("-voided_at")
    return _section("Voided events", UsageVoid, rows, org_id, "voids")


def other_lists(org_id: str) -> list[tuple[str, str]]:
    """Return the lists that no section of the page stands for."""
    models: list[tuple[str, type[Model]]] = [
        ("Usage events", UsageEvent),
        ("Use by day", DailyUsage),
        ("Entitlement", Entitlement),
        ("Organisation's row", Organization),
    ]
    return [(title, list_url(model, org_id)) for title, model in models]


def list_url(model: type[Model], org_id: str) -> str:
    """Return the list of a table, narrowed to the organisation."""
    name = model._meta.label_lower.replace(".", "_")
    return f"{reverse(f'admin:{name}_changelist')}?q={org_id}"


def _section(title: str, model: type[Model], rows: Any, org_id: str, template: str) -> Section:
    found = list(rows[: ROWS + 1])
    return Section(
        title=title,
        rows=found[:ROWS],
        url=list_url(model, org_id),
        more=len(found) > ROWS,
        template=f"admin/organisation/{template}.html",
    )
