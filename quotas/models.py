"""What an organisation may use, and what it has used in each period."""

import pghistory
import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q

from quotas.crossings import ThresholdChoice, ThresholdCrossed  # noqa: F401 - tables of this app
from quotas.denial_models import Denial, DeniedRequest  # noqa: F401 - tables of this app


class Overage(models.TextChoices):
    """What happens past the included units."""

    BLOCK = "block", "Block"
    ALLOW = "allow", "Allow"


class PeriodRule(models.TextChoices):
    """How quota periods are cut (quotas.periods)."""

    CALENDAR_MONTH = "calendar_month", "Calendar month"
    BILLING_MONTH = "billing_month", "Months from the billing anchor"
    BILLING_YEAR = "billing_year", "Years from the billing anchor"


class Status(models.TextChoices):
    """Stripe's words for the state of a subscription."""

    TRIALING = "trialing", "Trialing"
    ACTIVE = "active", "Active"
    PAST_DUE = "past_due", "Past due"
    INCOMPLETE = "incomplete", "Incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired", "Incomplete, expired"
    UNPAID = "unpaid", "Unpaid"
    PAUSED = "paused", "Paused"
    CANCELED = "canceled", "Canceled"


class Metric(models.Model):
    """Something that is counted. Pushed down from the plan catalogue."""

    code = models.CharField(max_length=64, primary_key=True)

    def __str__(self) -> str:
        return self.code


# Indexed for the timeline of an organisation.
@pghistory.track(
    meta={
        "indexes": [models.Index(fields=["org_id", "-pgh_id"], name="entitlement_history_by_org")]
    }
)
class Entitlement(models.Model):
    """What an organisation may use. Only `quotas.services.grant` writes it.

    `allowances` is a snapshot of the plan: `{metric: {"included": int, "overage": str}}`.
    `prior_allowances` held until `allowances_since`: a lower limit starts with
    the first period that begins at or after that instant. `cuts` is read by
    `quotas.rules.cuts_of`; empty where periods were always cut as they are now.
    """

    org_id = models.CharField(max_length=30, unique=True)
    plan_code = models.CharField(max_length=40)
    status = models.CharField(max_length=20, choices=Status)
    status_since = models.DateTimeField()
    status_because = models.CharField(max_length=200, blank=True)
    allowances = models.JSONField()
    overage_prices = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text="What a unit past the plan was sold at, by metric. Nothing here depends on it.",
    )
    allowances_since = models.DateTimeField()
    prior_allowances = models.JSONField(default=dict)
    period_rule = models.CharField(
        max_length=20, choices=PeriodRule, default=PeriodRule.CALENDAR_MONTH
    )
    anchor_at = models.DateTimeField(help_text="Where billing periods are counted from.")
    cuts = models.JSONField(
        default=list,
        blank=True,
        help_text="How time was cut into periods before, where rule or anchor changed.",
    )
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    past_due_since = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(
        null=True, blank=True, help_text="A cancellation that takes effect by itself."
    )
    scheduled_plan_code = models.CharField(max_length=40, blank=True)
    scheduled_allowances = models.JSONField(null=True, blank=True)
    scheduled_overage_prices = models.JSONField(default=dict, db_default={}, blank=True)
    scheduled_at = models.DateTimeField(null=True, blank=True)
    scheduled_period_rule = models.CharField(max_length=20, choices=PeriodRule, blank=True)
    scheduled_anchor_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(help_text="No use is counted before the period of this.")
    version = models.PositiveBigIntegerField(default=1)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="entitlement_status_known"
            ),
            models.CheckConstraint(
                condition=Q(period_rule__in=PeriodRule.values), name="entitlement_rule_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    scheduled_plan_code="",
                    scheduled_allowances__isnull=True,
                    scheduled_at__isnull=True,
                )
                | (
                    ~Q(scheduled_plan_code="")
                    & Q(scheduled_allowances__isnull=False, scheduled_at__isnull=False)
                ),
                name="entitlement_schedule_whole",
            ),
            models.CheckConstraint(
                condition=Q(scheduled_period_rule__in=["", *PeriodRule.values]),
                name="entitlement_scheduled_rule_known",
            ),
            models.CheckConstraint(
                condition=~Q(status="trialing") | Q(trial_ends_at__isnull=False),
                name="entitlement_trial_ends",
            ),
            models.CheckConstraint(
                condition=~Q(status="past_due") | Q(past_due_since__isnull=False),
                name="entitlement_past_due_dated",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} on {self.plan_code} ({self.status})"


class TsTzRange(Func):
    """`tstzrange(start, end, '[)')`."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class UsageCounter(models.Model):
    """What an organisation used of one metric in one period `[period_start, period_end)`.

    Every column equals what its rows say, at every instant: `counted` is the
    events less the voids, `forgiven` the resets, `included` what `grant` gave,
    `adjusted` the staff's signed rows. `version` grows by one on each change.
    Until `valid_until` no status, limit or period can change by time alone.
    Below `next_threshold_at` used units no threshold is crossed (quotas.crossings);
    the database computes it, whoever changes the row.
    """

    org_id = models.CharField(max_length=30)
    metric = models.CharField(max_length=64)
    period_key = models.CharField(max_length=16)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    counted = models.BigIntegerField(default=0)
    forgiven = models.BigIntegerField(default=0)
    forgiven_version = models.BigIntegerField(
        default=0, help_text="Events counted up to this version are settled by a reset."
    )
    included = models.BigIntegerField()
    adjusted = models.BigIntegerField(default=0)
    overage = models.CharField(max_length=5, choices=Overage)
    access = models.BooleanField()
    sold = models.BooleanField(
        default=True,
        db_default=True,
        help_text="There was access while the period ran. Where there was none, nothing"
        " of it is ever counted, whatever is sold later.",
    )
    valid_until = models.DateTimeField()
    next_threshold_at = models.BigIntegerField(null=True, blank=True, editable=False)
    version = models.BigIntegerField(default=1)
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "metric", "period_start"], name="usage_counter_one_per_period"
            ),
            models.CheckConstraint(
                condition=Q(period_start__lt=F("period_end")), name="usage_counter_period_not_empty"
            ),
            models.CheckConstraint(
                condition=Q(counted__gte=0, forgiven__gte=0, forgiven__lte=F("counted")),
                name="usage_counter_used_not_negative",
            ),
            models.CheckConstraint(condition=Q(included__gte=0), name="usage_counter_included"),
            models.CheckConstraint(
                condition=Q(overage__in=Overage.values), name="usage_counter_overage_known"
            ),
            # Stands behind the opener's lock: two overlapping periods would
            # count one event against two limits.
            ExclusionConstraint(
                name="usage_counter_periods_tile",
                expressions=[
                    ("org_id", RangeOperators.EQUAL),
                    ("metric", RangeOperators.EQUAL),
                    (
                        TsTzRange("period_start", "period_end", RangeBoundary()),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]
        indexes = [
            # Closing what is over, oldest first; few are, however many ever were. And those
            # that run: which of them are near their limit.
            models.Index(
                fields=["period_end"],
                condition=Q(closed_at__isnull=True),
                name="usage_counter_to_close",
            ),
            # What time alone made due: to be derived again (quotas.rollover).
            models.Index(
                fields=["valid_until"],
                condition=Q(closed_at__isnull=True),
                name="usage_counter_due",
            ),
        ]
        permissions = [("reset_usagecounter", "Can reset a quota")]

    def __str__(self) -> str:
        return f"{self.org_id} {self.metric} {self.period_key}: {self.used}"

    @property
    def used(self) -> int:
        """Units that count against the limit."""
        return self.counted - self.forgiven

    @property
    def limit(self) -> int:
        """Units the period includes, staff grants counted in."""
        return max(0, self.included + self.adjusted)

    @property
    def remaining(self) -> int:
        """Units left, never negative."""
        return max(0, self.limit - self.used)


class _CounterRow(models.Model):
    """What a row that moves a counter's column has in common. Insert-only."""

    org_id = models.CharField(max_length=30)
    metric = models.CharField(max_length=64)
    period_start = models.DateTimeField()
    units = models.BigIntegerField()
    reason = models.CharField(max_length=500)
    made_by = models.CharField(max_length=100)
    made_at = models.DateTimeField()

    class Meta:
        abstract = True


class Adjustment(_CounterRow):
    """Units that staff granted (or took away, negative) in one period."""

    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(units=0), name="adjustment_not_zero"),
        ]
        indexes = [
            # The rows behind one counter's `adjusted`.
            models.Index(fields=["org_id", "metric", "period_start"], name="adjustment_by_counter"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]
        permissions = [("adjust_usagecounter", "Can grant or remove units")]

    def __str__(self) -> str:
        return f"{self.org_id} {self.metric} {self.units:+d}"


class Forgiveness(_CounterRow):
    """Units that a forced reset took off the books. The events stay."""

    act_id = models.UUIDField(
        null=True, blank=True, help_text="The reset: what it forgave is not forgiven again by it."
    )

    class Meta:
        verbose_name_plural = "forgivenesses"
        constraints = [
            models.UniqueConstraint(
                fields=["act_id", "org_id", "metric"], name="forgiveness_once_per_act"
            ),
            models.CheckConstraint(condition=Q(units__gt=0), name="forgiveness_has_units"),
        ]
        indexes = [
            # The rows behind one counter's `forgiven`.
            models.Index(
                fields=["org_id", "metric", "period_start"], name="forgiveness_by_counter"
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.metric} {self.units} forgiven"


class CounterRepair(models.Model):
    """A counter that `reconcile_usage --repair` set back to what its rows say. Insert-only."""

    org_id = models.CharField(max_length=30)
    metric = models.CharField(max_length=64)
    period_start = models.DateTimeField()
    before = models.JSONField()
    after = models.JSONField()
    made_by = models.CharField(max_length=100)
    made_at = models.DateTimeField()

    class Meta:
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.metric} repaired"
