"""The ledger: what was used, and what was taken back. Insert-only, held by the database."""

import pgtrigger
from django.db import models
from django.db.models import Q


class UsageEvent(models.Model):
    """One use, counted once, with the answer that was given for it.

    `occurred_at` is what the client said; `counted_at` where it was counted (never
    ahead of the server). The last five columns are the answer: a repeat is
    answered from them, for ever the same.
    """

    org_id = models.CharField(max_length=30)
    request_id = models.CharField(max_length=128)
    metric = models.CharField(max_length=64)
    value = models.PositiveIntegerField()
    occurred_at = models.DateTimeField()
    counted_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    period_start = models.DateTimeField()
    period_key = models.CharField(max_length=10)
    used_after = models.BigIntegerField()
    remaining_after = models.BigIntegerField()
    counter_version = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "request_id"], name="usage_event_counted_once"
            ),
            models.CheckConstraint(
                condition=Q(value__gte=1, value__lte=1_000_000_000), name="usage_event_has_value"
            ),
        ]
        indexes = [
            # Reading newest first, the series by day, and the sum behind one counter.
            models.Index(fields=["org_id", "metric", "counted_at"], name="usage_event_by_time"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.org_id} {self.metric} +{self.value}"


class UsageVoid(models.Model):
    """One event taken back. The event stays; its units no longer count."""

    org_id = models.CharField(max_length=30)
    request_id = models.CharField(max_length=128)
    metric = models.CharField(max_length=64)
    value = models.PositiveIntegerField()
    period_start = models.DateTimeField()
    period_key = models.CharField(max_length=10)
    reason = models.CharField(max_length=500)
    voided_by = models.CharField(max_length=100)
    voided_at = models.DateTimeField()
    used_after = models.BigIntegerField()
    remaining_after = models.BigIntegerField()
    counter_version = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["org_id", "request_id"], name="usage_void_taken_back_once"
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"void of {self.request_id} ({self.org_id} {self.metric} -{self.value})"


class ImportRun(models.Model):
    """One source imported for an organisation: it fixes the shift of its instants for ever."""

    org_id = models.CharField(max_length=30)
    source = models.CharField(max_length=100)
    metric = models.CharField(max_length=64)
    shift_seconds = models.FloatField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    read = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveBigIntegerField(default=0)
    duplicate = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org_id", "source"], name="import_run_one_per_source"),
        ]

    def __str__(self) -> str:
        return f"{self.source} into {self.org_id}"
