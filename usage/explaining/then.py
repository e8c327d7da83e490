"""What was true of an organisation at an instant, from the tables that keep it.

Of the present the entitlement and the counter say it themselves. Of the past the
history of the entitlement, the ledger, and the rows behind the counter do; each of
them only grows, so what they said then is still in them.
"""

from datetime import datetime, timedelta
from typing import Any, cast

from django.apps import apps
from django.db import OperationalError, connection
from django.db.models import Q, Sum
from psycopg.errors import QueryCanceled

from config.contract import clock
from quotas import rules
from quotas.models import Adjustment, Entitlement, Forgiveness, UsageCounter
from quotas.periods import Period, period_at
from tokens.suspension import suspended_at
from usage.explaining.shape import Figures, Standing, Suspended
from usage.models import UsageEvent

#: An instant so near is the present: whoever asks has it from a clock, not from a row.
PRESENT = timedelta(seconds=1)

_COUNTED = """
SELECT (SELECT coalesce(sum(e.value), 0) FROM usage_usageevent e
         WHERE e.metric = %(metric)s AND e.org_id = %(org)s AND e.recorded_at <= %(at)s
           AND e.counted_at >= %(start)s AND e.counted_at < %(end)s)
     - (SELECT coalesce(sum(v.value), 0) FROM usage_usagevoid v
         WHERE v.org_id = %(org)s AND v.metric = %(metric)s
           AND v.period_start = %(start)s AND v.voided_at <= %(at)s)
"""


def history_rows(org_id: str) -> Any:
    """Return every state the entitlement was in, newest first; each says why in its context."""
    return (
        apps.get_model("quotas", "EntitlementEvent")
        ._default_manager.filter(org_id=org_id)
        .order_by("-pgh_id")
    )


def entitlement_at(org_id: str, at: datetime) -> tuple[Entitlement | None, bool]:
    """Return the entitlement as it was at `at`, and whether that is known.

    None and known: nothing had been granted yet. None and not known: it was granted
    before its history begins.
    """
    current = Entitlement.objects.filter(org_id=org_id).first()
    if current is not None and current.updated_at <= at:
        return current, True
    rows = history_rows(org_id)
    held = rows.filter(updated_at__lte=at).first()
    if held is not None and held.pgh_label != "delete":
        return cast(Entitlement, held), True
    first = rows.last()
    return None, current is None or (first is not None and first.pgh_label == "insert")


def standing_of(entitlement: Entitlement, at: datetime) -> Standing:
    """Return what an entitlement means at `at`."""
    set_by = (
        history_rows(entitlement.org_id)
        .filter(status_since=entitlement.status_since, status=entitlement.status)
        .last()
    )
    context = (set_by.pgh_context if set_by is not None else None) or {}
    ends_at = rules.access_ends(entitlement)
    due = entitlement.scheduled_at is not None and at >= entitlement.scheduled_at
    return Standing(
        plan_code=rules.plan_code_at(entitlement, at),
        status=entitlement.status,
        since=entitlement.status_since,
        because=entitlement.status_because,
        request_id=str(context.get("request_id") or ""),
        has_access=rules.has_access(entitlement, at),
        trial_ends_at=entitlement.trial_ends_at,
        ends_at=ends_at,
        ends_by=_ends_by(entitlement, ends_at),
        scheduled_plan="" if due else entitlement.scheduled_plan_code,
        scheduled_at=None if due else entitlement.scheduled_at,
    )


def _ends_by(entitlement: Entitlement, ends_at: datetime | None) -> str:
    if ends_at is None:
        return ""
    return "cancellation" if ends_at == entitlement.ends_at else entitlement.status


def figures_at(entitlement: Entitlement, metric: str, at: datetime) -> tuple[Figures, list[str]]:
    """Return the numbers of the period around `at`, as they were then, and what is missing."""
    counter = UsageCounter.objects.filter(
        org_id=entitlement.org_id, metric=metric, period_start__lte=at, period_end__gt=at
    ).first()
    if counter is None:
        # Nobody has touched the period: it is shown as it would open.
        period = _period(entitlement, at)
        limit = rules.limit_for(
            entitlement, metric, period_start=period.start, period_end=period.end, at=at
        )
        return Figures(period, limit.included, 0, 0, 0, limit.included, limit.overage), []
    if counter.updated_at <= at < counter.valid_until:
        return _of_counter(counter), []
    return _rebuilt(entitlement, counter, at)


def _period(entitlement: Entitlement, at: datetime) -> Period:
    try:
        return rules.period_of(entitlement, at, known_at=at)
    except LookupError:
        # Before what the entitlement still knows: as its present rule would cut it.
        return period_at(entitlement.period_rule, entitlement.anchor_at, at)


def _of_counter(counter: UsageCounter) -> Figures:
    period = period_of(counter)
    return Figures(
        period=period,
        planned=counter.included,
        adjusted=counter.adjusted,
        forgiven=counter.forgiven,
        used=counter.used,
        included=counter.limit,
        overage=counter.overage,
        version=counter.version,
    )


def _rebuilt(
    entitlement: Entitlement, counter: UsageCounter, at: datetime
) -> tuple[Figures, list[str]]:
    limit = rules.limit_for(
        entitlement,
        counter.metric,
        period_start=counter.period_start,
        period_end=counter.period_end,
        at=at,
    )
    of_counter = Q(org_id=counter.org_id, metric=counter.metric, period_start=counter.period_start)
    adjusted = adjusted_at(of_counter, at)
    forgiven = _sum(Forgiveness.objects.filter(of_counter, made_at__lte=at))
    gaps = []
    if at >= counter.updated_at:
        counted: int | None = counter.counted
    else:
        counted = _counted(counter, at)
    if counted is None:
        gaps.append(
            "How much was used at that instant is not known here: there are too many events to add"
            " up while a page waits. `manage.py explain` takes the time."
        )
    return (
        Figures(
            period=period_of(counter),
            planned=limit.included,
            adjusted=adjusted,
            forgiven=forgiven,
            used=None if counted is None else max(0, counted - forgiven),
            included=max(0, limit.included + adjusted),
            overage=limit.overage,
        ),
        gaps,
    )


def figures_decided(
    entitlement: Entitlement | None,
    *,
    org_id: str,
    metric: str,
    period: Period,
    at: datetime,
    used: int,
    included: int | None,
    version: int,
) -> Figures:
    """Return the numbers that were written down with a decision, with the rows behind them.

    What was included is worked out where it was not written down.
    """
    limit = (
        rules.limit_for(
            entitlement, metric, period_start=period.start, period_end=period.end, at=at
        )
        if entitlement is not None
        else None
    )
    of_counter = Q(org_id=org_id, metric=metric, period_start=period.start)
    adjusted = adjusted_at(of_counter, at)
    if included is None:
        included = max(0, limit.included + adjusted) if limit else used
    return Figures(
        period=period,
        planned=limit.included if limit else None,
        adjusted=adjusted,
        forgiven=_sum(Forgiveness.objects.filter(of_counter, made_at__lte=at)),
        used=used,
        included=included,
        overage=limit.overage if limit else rules.NOTHING.overage,
        version=version,
    )


def adjusted_at(of_counter: Q, at: datetime) -> int:
    """Return the sum of the adjustments of a counter that were in force at `at`."""
    in_force = Q(expires_at=None) | Q(expires_at__gt=at)
    return _sum(Adjustment.objects.filter(of_counter, in_force, made_at__lte=at))


def _counted(counter: UsageCounter, at: datetime) -> int | None:
    """Add up the ledger as it stood at `at`; None where the database will not take the time."""
    told: dict[str, str | datetime] = {
        "metric": counter.metric,
        "org": counter.org_id,
        "at": at,
        "start": counter.period_start,
        "end": counter.period_end,
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(_COUNTED, told)
            return int(cursor.fetchone()[0])
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        return None


def suspension_at(org_id: str, at: datetime, now: datetime) -> Suspended | None:
    """Return the suspension that held at `at`. The audit trail is in real time, `at` is not."""
    real = at - timedelta(seconds=clock.offset_seconds())
    found = suspended_at(org_id=org_id, at=real + (PRESENT if at >= now else timedelta(0)))
    return Suspended(*found) if found else None


def period_of_event(event: UsageEvent) -> Period:
    """Return the period that an event was counted in."""
    counter = UsageCounter.objects.get(
        org_id=event.org_id, metric=event.metric, period_start=event.period_start
    )
    return period_of(counter)


def period_of(counter: UsageCounter) -> Period:
    """Return a counter's period."""
    return Period(counter.period_key, counter.period_start, counter.period_end)


def _sum(rows: Any) -> int:
    return int(rows.aggregate(total=Sum("units"))["total"] or 0)
