"""Organisations, what is sold to them, and the mirror of what Stripe says."""

from collections.abc import Mapping
from copy import copy
from datetime import datetime
from decimal import ROUND_HALF_UP
from fractions import Fraction
from typing import ClassVar

import pghistory
import pgtrigger
from django.db import models
from django.db.models import Case, F, Q, Value, When

from billing import mirrors
from billing.contact.models import EmailChange  # noqa: F401 - a table of this app
from billing.notifications.models import (  # noqa: F401 - tables of this app
    Delivery,
    Notification,
    NotificationAddress,
    NotificationSettings,
)
from config.contract.models import StoredAnswer
from quotas import rules
from quotas.models import Overage, Status


class QuotaPeriod(models.TextChoices):
    """When the included units of a plan are there anew."""

    CALENDAR_MONTH = "calendar_month", "Each calendar month"
    BILLING_PERIOD = "billing_period", "Each billing period"


def _by_org(name: str) -> dict[str, object]:
    """Index a history table for the timeline of an organisation."""
    return {"indexes": [models.Index(fields=["org_id", "-pgh_id"], name=name)]}


class Plan(models.Model):
    """One plan of the catalogue. `amount` is in minor units of `currency`, per `interval`.

    All plans are in one currency, so that their amounts compare.
    """

    MONTHS: ClassVar = {"month": 1, "year": 12}
    #: The plan as the catalogue has it, on a copy that carries somebody's price
    #: (PlanPrice.applied_to).
    listed: "Plan | None" = None

    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    amount = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5, choices=[("month", "Month"), ("year", "Year")])
    quota_period = models.CharField(
        max_length=14, choices=QuotaPeriod, default=QuotaPeriod.CALENDAR_MONTH
    )
    trial_days = models.PositiveSmallIntegerField(default=0)
    installation_limit = models.PositiveIntegerField(default=5)
    stripe_price_id = models.CharField(max_length=255, blank=True)
    on_sale = models.BooleanField(default=True)

    class Meta:
        # The rank, cheapest first, in SQL.
        ordering = [
            F("amount") * Case(When(interval="month", then=Value(12)), default=Value(1)),
            "interval",
            "code",
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(interval__in=["month", "year"]), name="plan_interval_known"
            ),
            models.CheckConstraint(
                condition=Q(quota_period__in=QuotaPeriod.values), name="plan_quota_period_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def rank(self) -> tuple[Fraction, int]:
        """What plans are compared by: minor units per month, exactly; then the months billed.

        Of two that cost the same a month, the one that is paid for longer is the dearer.
        """
        months = self.MONTHS[self.interval]
        return Fraction(self.amount, months), months

    def is_dearer_than(self, other: "Plan") -> bool:
        """Tell whether moving to this plan from the other is an upgrade; back is a downgrade.

        Where somebody pays for one today exactly what the other costs, the catalogue
        decides: there has to be a way between them.
        """
        return (self.rank, (self.listed or self).rank) > (other.rank, (other.listed or other).rank)

    def metered_allowances(self) -> "list[PlanAllowance]":
        """Return the allowances whose overage the renewals of a subscription charge.

        None where it renews once a year: what is used would be charged up to a year
        later. An annual plan's overage is charged by invoices of its own.
        """
        if self.interval != "month":
            return []
        return [one for one in self.metrics.all() if one.overage == Overage.ALLOW]


class PlanPrice(models.Model):
    """A price at Stripe that a plan was ever sold at, and which it is then for ever.

    A price there never changes: whoever subscribed at it keeps it, whatever the
    catalogue says since. `unit_amount` is in minor units of `currency` per
    interval, or per unit of `metric` where the price meters use past the plan; None
    where it has no single amount (tiers). `sold_until` is None while it is on sale.
    """

    stripe_price_id = models.CharField(max_length=255, unique=True)
    plan_code = models.CharField(max_length=40)
    metric = models.CharField(max_length=64, blank=True)
    unit_amount = models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True)
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5)
    interval_count = models.PositiveSmallIntegerField(default=1)
    sold_since = models.DateTimeField(null=True, blank=True)
    sold_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "price of a plan"
        verbose_name_plural = "prices of plans"
        ordering = ["plan_code", "metric", "-sold_since", "-pk"]
        indexes = [
            # What a plan was ever sold at.
            models.Index(fields=["plan_code", "metric"], name="plan_price_by_plan"),
        ]

    def __str__(self) -> str:
        return f"{self.plan_code} {self.metric} {self.stripe_price_id}"

    @property
    def is_plans_own(self) -> bool:
        """Whether it sells the plan itself, rather than use past it."""
        return self.metric == ""

    @property
    def monthly_amount(self) -> Fraction:
        """Minor units per month, exactly; nothing where it has no single amount."""
        months = Plan.MONTHS.get(self.interval, 1) * self.interval_count
        return Fraction(self.unit_amount or 0) / months

    def applied_to(self, plan: Plan) -> Plan:
        """Return the plan as it costs at this price. A copy to compare and show, not to save."""
        deal = copy(plan)
        deal.listed = plan
        if self.unit_amount is not None:
            per_interval = self.unit_amount / self.interval_count
            deal.amount = int(per_interval.to_integral_value(ROUND_HALF_UP))
        deal.currency = self.currency
        if self.interval in Plan.MONTHS:
            deal.interval = self.interval
        return deal


class PlanAllowance(models.Model):
    """What a plan includes of one metric, and what happens past it.

    `overage_unit_amount` is in minor units of the plan's currency, fractions allowed.
    """

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="metrics")
    metric = models.CharField(max_length=64)
    included_units = models.PositiveBigIntegerField()
    overage = models.CharField(max_length=5, choices=Overage, default=Overage.BLOCK)
    overage_unit_amount = models.DecimalField(
        max_digits=18, decimal_places=12, null=True, blank=True
    )

    class Meta:
        ordering = ["metric"]
        constraints = [
            models.UniqueConstraint(fields=["plan", "metric"], name="plan_allowance_per_metric"),
            models.CheckConstraint(
                condition=Q(overage="block", overage_unit_amount__isnull=True)
                | Q(overage="allow", overage_unit_amount__gte=0),
                name="plan_allowance_overage_priced",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_id} {self.metric} {self.included_units}"


@pghistory.track(
    exclude=["contact_version", "contact_synced", "contact_due_at", "contact_tries"],
    meta=_by_org("organization_history_by_org"),
)
class Organization(models.Model):
    """A customer of the company that runs this installation.

    `contact_version` counts our changes of name and e-mail, `contact_synced` is the last
    one that Stripe has; `contact_due_at` (real time) is when it is to be told next, None
    where it need not be, or would refuse again (billing.contact.following).
    """

    org_id = models.CharField(max_length=30, unique=True)
    name = models.CharField(max_length=120)
    email = models.EmailField()
    stripe_customer_id = models.CharField(max_length=255, unique=True)
    created_at = models.DateTimeField()
    contact_version = models.PositiveBigIntegerField(default=0, db_default=0)
    contact_synced = models.PositiveBigIntegerField(default=0, db_default=0)
    contact_due_at = models.DateTimeField(null=True, blank=True)
    contact_tries = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        verbose_name = "organisation"
        indexes = [
            # Staff search by e-mail; two organisations may share one.
            models.Index(fields=["email"], name="organization_by_email"),
            # The worker: whose customer at Stripe is to be told.
            models.Index(
                fields=["contact_due_at"],
                condition=Q(contact_due_at__isnull=False),
                name="organization_contact_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.org_id})"

    @property
    def contact_on_its_way(self) -> bool:
        """Whether Stripe has still to be told our name and e-mail."""
        return self.contact_due_at is not None

    @property
    def contact_refused(self) -> bool:
        """Whether Stripe would not have our name or e-mail; ours stands."""
        return self.contact_due_at is None and self.contact_version > self.contact_synced


@pghistory.track(
    exclude=["fetch_requested", "fetch_applied"], meta=_by_org("subscription_history_by_org")
)
class Subscription(models.Model):
    """The mirror of one subscription at Stripe: what the newest fetch said, no more.

    `fetch_requested` numbers the fetches, `fetch_applied` is the newest one
    written down; an older one that arrives late is dropped. Before the first is
    applied the row holds nothing but its id. `scheduled_*` come from the
    subscription's schedule, where it has one.
    """

    TERMINAL = mirrors.TERMINAL

    stripe_subscription_id = models.CharField(max_length=255, unique=True)
    org_id = models.CharField(max_length=30, blank=True)
    stripe_customer_id = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=20, choices=Status, blank=True)
    plan_code = models.CharField(max_length=40, blank=True)
    stripe_item_id = models.CharField(max_length=255, blank=True)
    stripe_price_id = models.CharField(max_length=255, blank=True, db_default="")
    quantity = models.PositiveBigIntegerField(default=1, db_default=1)
    overage_prices = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="What a unit past the plan costs it, by metric (billing.overage.deal).",
    )
    stripe_schedule_id = models.CharField(max_length=255, blank=True)
    current_period_start = models.DateTimeField(null=True, blank=True)
    current_period_end = models.DateTimeField(null=True, blank=True)
    billing_cycle_anchor = models.DateTimeField(null=True, blank=True)
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    past_due_since = models.DateTimeField(null=True, blank=True)
    cancel_at = models.DateTimeField(null=True, blank=True)
    scheduled_plan_code = models.CharField(max_length=40, blank=True)
    scheduled_quantity = models.PositiveBigIntegerField(default=1, db_default=1)
    scheduled_overage_prices = models.JSONField(default=dict, db_default={}, blank=True)
    scheduled_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(null=True, blank=True, help_text="When Stripe made it.")
    fetch_requested = models.PositiveBigIntegerField(default=0)
    fetch_applied = models.PositiveBigIntegerField(default=0)

    objects = mirrors.SubscriptionQuerySet.as_manager()

    class Meta:
        indexes = [
            # All mirrors of an organisation: the entitlement is computed from them.
            models.Index(fields=["org_id", "-created_at"], name="subscription_by_org"),
        ]

    def __str__(self) -> str:
        return f"{self.stripe_subscription_id} ({self.status})"

    def gives_access(self, now: datetime) -> bool:
        """Tell whether it makes its organisation's subscription valid at `now`."""
        return rules.is_valid(
            self.status,
            now,
            trial_ends_at=self.trial_ends_at,
            past_due_since=self.past_due_since,
            ends_at=self.cancel_at,
        )

    def plan_code_at(self, now: datetime) -> str:
        """Return the plan it is on at `now`: a scheduled change applies by itself when due."""
        if self.scheduled_at is not None and self.scheduled_at <= now:
            return self.scheduled_plan_code
        return self.plan_code

    def overage_prices_of(self, plan_code: str) -> dict[str, dict[str, str]]:
        """Return what a unit past a plan costs it, where it is on the plan or will be."""
        prices: dict[str, dict[str, str]] = {}
        if plan_code == self.plan_code:
            prices = self.overage_prices
        elif plan_code == self.scheduled_plan_code:
            prices = self.scheduled_overage_prices
        return prices

    def plan(self, among: Mapping[str, Plan] | None = None) -> Plan | None:
        """Return its plan at the price that is paid for it; None where no plan is known.

        `among` are plans by code that the caller has read already, with their metrics.
        """
        plan = (among or {}).get(self.plan_code) or (
            Plan.objects.prefetch_related("metrics").filter(code=self.plan_code).first()
        )
        price = PlanPrice.objects.filter(
            stripe_price_id=self.stripe_price_id, plan_code=self.plan_code
        ).first()
        return plan if plan is None or price is None else price.applied_to(plan)


@pghistory.track(
    exclude=["fetch_requested", "fetch_applied", "updated_at"],
    meta=_by_org("invoice_history_by_org"),
)
class InvoiceRef(models.Model):
    """What is known locally of an invoice at Stripe. Amounts in minor units of `currency`.

    Fetches are numbered as a subscription's are; before the first is applied the
    row holds nothing but its id. One whose customer is nobody's yet has no
    `org_id`: it is linked when the customer becomes known.

    `amount_disputed` counts every dispute, however it ended; `dispute_status` is that of
    the one that most wants somebody to look. `amount_credited` is what credit notes took
    off, before and after payment. `amount_paid` is None where it was not asked for yet.
    """

    #: Our word for a draft that was deleted at Stripe.
    DELETED = "deleted"
    #: States in which staff have to answer the bank, and those in which it decides.
    DISPUTE_WAITS_FOR_US = (
        "needs_response",
        "appeal_needs_response",
        "warning_needs_response",
    )
    DISPUTE_OPEN = (
        *DISPUTE_WAITS_FOR_US,
        "under_review",
        "appeal_under_review",
        "warning_under_review",
    )

    stripe_invoice_id = models.CharField(max_length=255, unique=True)
    org_id = models.CharField(max_length=30, blank=True)
    stripe_customer_id = models.CharField(max_length=255, blank=True)
    stripe_subscription_id = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=20, blank=True)
    total = models.BigIntegerField(default=0)
    amount_due = models.BigIntegerField(default=0)
    amount_paid = models.BigIntegerField(null=True, blank=True)
    amount_refunded = models.BigIntegerField(default=0, db_default=0)
    amount_credited = models.BigIntegerField(default=0, db_default=0)
    amount_disputed = models.BigIntegerField(default=0, db_default=0)
    dispute_status = models.CharField(max_length=30, blank=True, default="", db_default="")
    refund_failed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a refund was first heard to have come back."
    )
    currency = models.CharField(max_length=3, blank=True)
    hosted_invoice_url = models.URLField(max_length=2048, blank=True)
    created_at = models.DateTimeField(null=True, blank=True, help_text="When Stripe made it.")
    updated_at = models.DateTimeField(null=True, blank=True)
    fetch_requested = models.PositiveBigIntegerField(default=0)
    fetch_applied = models.PositiveBigIntegerField(default=0)

    class Meta:
        indexes = [
            # Invoices of an organisation, newest first.
            models.Index(fields=["org_id", "-created_at"], name="invoice_ref_by_org"),
            # Those waiting for their customer to become known.
            models.Index(
                fields=["stripe_customer_id"], condition=Q(org_id=""), name="invoice_ref_unlinked"
            ),
            # The dashboard: disputes, and refunds that came back. Few, of many invoices.
            models.Index(
                fields=["dispute_status"],
                condition=~Q(dispute_status=""),
                name="invoice_ref_disputed",
            ),
            models.Index(
                fields=["refund_failed_at"],
                condition=Q(refund_failed_at__isnull=False),
                name="invoice_ref_refund_failed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stripe_invoice_id} ({self.status})"

    @property
    def dispute_words(self) -> str:
        """How the dispute stands, for people; Stripe's word, which may be new to us."""
        return self.dispute_status.replace("_", " ")

    @property
    def money_back(self) -> list[tuple[str, int]]:
        """What went back or is wanted back, each in a word: `refunded`, `disputed (lost)`."""
        dispute = f"disputed ({self.dispute_words})"
        amounts = [
            ("refunded", self.amount_refunded),
            ("credited", self.amount_credited),
            (dispute, self.amount_disputed),
        ]
        return [(word, amount) for word, amount in amounts if amount]


@pghistory.track(
    exclude=["lease_until", "attempts", "key_generation"], meta=_by_org("operation_history_by_org")
)
class Operation(models.Model):
    """One thing we ask of Stripe, committed before we ask: a crash leaves a trace to finish.

    `uuid` makes the idempotency keys; `lease_until` (real time) says who works
    on it; `request` and `result` hold no secret.
    """

    class Kind(models.TextChoices):
        SIGN_UP = "sign_up", "Sign-up"
        UPGRADE = "upgrade", "Upgrade"
        DOWNGRADE = "downgrade", "Downgrade"
        KEEP_PLAN = "keep_plan", "Cancel a downgrade"
        CANCEL = "cancel", "Cancel"
        RESUME = "resume", "Resume"
        SUBSCRIBE = "subscribe", "Subscribe again"
        CHECKOUT = "checkout", "Open a new payment page"
        OVERAGE = "overage", "Charge overage"
        CONTACT = "contact", "Change name or e-mail"

    #: What changes a subscription: one at a time per organisation.
    CHANGES = frozenset(Kind.values) - {Kind.SIGN_UP, Kind.OVERAGE, Kind.CONTACT}

    class State(models.TextChoices):
        STARTED = "started", "Started"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    uuid = models.UUIDField(unique=True)
    kind = models.CharField(max_length=20, choices=Kind)
    org_id = models.CharField(max_length=30)
    state = models.CharField(max_length=10, choices=State, default=State.STARTED)
    request = models.JSONField()
    result = models.JSONField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    key_generation = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField()
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    notified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="started", finished_at__isnull=True)
                | (~Q(state="started") & Q(finished_at__isnull=False)),
                name="operation_finished_at",
            ),
            # Two changes at once would each be priced from a plan the other replaces.
            models.UniqueConstraint(
                fields=["org_id"],
                condition=Q(state="started") & ~Q(kind__in=["sign_up", "overage", "contact"]),
                name="operation_one_change_at_a_time",
            ),
        ]
        indexes = [
            # The completer: what was started and whose lease ran out.
            models.Index(
                fields=["lease_until"], condition=Q(state="started"), name="operation_unfinished"
            ),
            # What was asked for an organisation, newest first.
            models.Index(fields=["org_id", "-created_at"], name="operation_by_org"),
            # The mailer: what is done and not yet told.
            models.Index(
                fields=["finished_at"],
                condition=Q(state="done", notified_at__isnull=True),
                name="operation_untold",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.org_id} ({self.state})"


class IdempotencyKey(StoredAnswer):
    """The answer once given under a client's Idempotency-Key, scoped by tenant and route.

    `response` holds no secret: a replay reads it again, or leaves it out. Who works on
    the request is said by its operation's lease.
    """

    operation = models.ForeignKey(
        Operation, null=True, blank=True, on_delete=models.PROTECT, related_name="keys"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "key_hash"], name="idempotency_key_scoped"),
        ]
        indexes = [
            # Forgetting after 24 hours.
            models.Index(fields=["created_at"], name="idempotency_key_by_age"),
        ]


class UnpricedOverage(models.Model):
    """A closed period that went over its plan and cannot be charged: no price is known for it.

    Staff see it until the catalogue has a price, or the units are settled otherwise.
    """

    counter_id = models.BigIntegerField(unique=True)
    org_id = models.CharField(max_length=30, db_index=True)
    metric = models.CharField(max_length=64)
    period_key = models.CharField(max_length=16)
    units = models.BigIntegerField()
    noted_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "unpriced overage"

    def __str__(self) -> str:
        return f"{self.org_id} {self.metric} {self.period_key}: {self.units} units"


class Statement(models.Model):
    """The seal of one closed period of an organisation. Insert-only.

    `digest` covers `rows` and the digest before it, under a key that is not here.
    """

    org_id = models.CharField(max_length=30)
    period_key = models.CharField(max_length=16)
    period_start = models.DateTimeField()
    rows = models.JSONField()
    previous_digest = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)
    sealed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org_id", "period_key"], name="statement_per_period"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.period_key}"
