"""Thresholds: the percentages of a limit an organisation hears of, and those it crossed.

A trigger of the counter (sql/arm_thresholds.sql) is the one home of the rule: by
whatever way a limit changes, `next_threshold_at` follows.
"""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

#: What an organisation hears of that chose nothing. The trigger says the same.
DEFAULT_PERCENTS = (50, 80, 100)


class ThresholdChoice(models.Model):
    """The percentages an organisation chose in place of DEFAULT_PERCENTS; an empty list is none."""

    org_id = models.CharField(max_length=30, unique=True)
    percents = ArrayField(models.PositiveSmallIntegerField(), blank=True)
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(percents__contained_by=list(range(1, 101))),
                name="threshold_choice_percents",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} at {self.percents}"


class ThresholdCrossed(models.Model):
    """An organisation used `percent` of a limit: once per period, metric and limit.

    Written by the counter's trigger, in the transaction that crossed it. `used`
    is what the counter said after that change. Nothing of it ever changes but
    `told_at` (real time), set as the notice of it is made.
    """

    org_id = models.CharField(max_length=30)
    metric = models.CharField(max_length=64)
    period_key = models.CharField(max_length=16)
    period_start = models.DateTimeField()
    percent = models.PositiveSmallIntegerField()
    units_limit = models.BigIntegerField()
    used = models.BigIntegerField()
    crossed_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "crossed threshold"
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "metric", "period_start", "units_limit", "percent"],
                name="threshold_crossed_once",
            ),
        ]
        indexes = [
            # What nobody was told of yet (billing.notifications).
            models.Index(
                fields=["id"], condition=Q(told_at__isnull=True), name="threshold_crossed_untold"
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Delete),
            pgtrigger.ReadOnly(name="facts_stay", exclude=["told_at"]),
        ]

    def __str__(self) -> str:
        return (
            f"{self.org_id} {self.metric} {self.period_key} {self.percent}% of {self.units_limit}"
        )
