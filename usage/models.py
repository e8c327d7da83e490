"""The ledger: what was used, and what was taken back. Insert-only, held by the database.

Below it what is derived from it: use by day, and what comparing the books found.
"""

from datetime import datetime, timedelta

import pgtrigger
from django.contrib.postgres.indexes import BrinIndex
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
    period_key = models.CharField(max_length=16)
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
            # Reading newest first and going on there, the series by day, and the sum behind one
            # counter. Not org_id first: where statistics say that an organisation has few
            # events, the planner would find a request id by reading all of them through this
            # index. Whoever wants all metrics merges them (usage.queries).
            models.Index(
                fields=["metric", "org_id", "counted_at", "id"], name="usage_event_newest_first"
            ),
            # The rollup: all events of one day, and those recorded of late. A block range
            # index costs the hot insert next to nothing; `multi` keeps a late event from
            # stretching its whole range over the days between.
            BrinIndex(
                fields=["counted_at", "recorded_at"],
                opclasses=["timestamptz_minmax_multi_ops", "timestamptz_minmax_ops"],
                pages_per_range=32,
                autosummarize=True,
                name="usage_event_by_day",
            ),
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
    period_key = models.CharField(max_length=16)
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
        indexes = [
            # The voids behind one counter: a statement, a repair.
            models.Index(fields=["org_id", "metric", "period_start"], name="usage_void_by_counter"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"void of {self.request_id} ({self.org_id} {self.metric} -{self.value})"


class ImportRun(models.Model):
    """One source imported for an organisation: what its lines become is fixed here.

    An event's content must be the same at every import of its line, in whatever
    period that is. So the metric, the rule for units, the shift, and the floor below
    which no instant falls hold from the first event on. The numbers are those of the
    latest run; while `finished_at` is empty it goes on, or was killed.
    """

    org_id = models.CharField(max_length=30)
    source = models.CharField(max_length=100)
    metric = models.CharField(max_length=64)
    units = models.CharField(max_length=50, default="1 each")
    shift_seconds = models.BigIntegerField(default=0)
    floor_at = models.DateTimeField(
        null=True, blank=True, help_text="Set where instants are shifted: none falls before it."
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    read = models.PositiveBigIntegerField(default=0)
    filtered = models.PositiveBigIntegerField(default=0)
    accepted = models.PositiveBigIntegerField(default=0)
    duplicate = models.PositiveBigIntegerField(default=0)
    rejected = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org_id", "source"], name="import_run_one_per_source"),
            models.CheckConstraint(
                condition=Q(floor_at__isnull=False) | Q(shift_seconds=0),
                name="import_run_shift_has_floor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} into {self.org_id}"

    def instant(self, logged: datetime) -> datetime:
        """Return the instant at which a line's event occurred, as far as the ledger knows."""
        if self.floor_at is None:
            return logged
        return max(logged + timedelta(seconds=self.shift_seconds), self.floor_at)


class ImportedLog(models.Model):
    """The beginning of a log that was imported: by it the log is known under any name.

    `part` tells events of logs of one source apart that are not the same log; the first
    of a source has none. A source imported before logs were known by their content has
    no row here, and all its lines are of the part without a name.
    """

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="logs")
    part = models.CharField(max_length=33, blank=True, default="")
    head = models.TextField(help_text="Digests of the first lines, 16 hex digits each.")
    lines = models.PositiveBigIntegerField(help_text="How many lines of it were seen.")
    tails = models.TextField(
        blank=True, default="", help_text="Digests of the lines that files of it ended with."
    )
    is_named = models.BooleanField(
        default=False, help_text="The operator named its source: it is known under that name only."
    )
    filters = models.CharField(
        max_length=32, blank=True, default="", help_text="Which filters chose among its lines."
    )
    is_whole = models.BooleanField(
        default=False, help_text="Every line that its filters let pass was counted."
    )

    def __str__(self) -> str:
        return f"{self.lines} lines of {self.run_id}"


class DailyUsage(models.Model):
    """What an organisation used of one metric on one day (UTC), voided events left out.

    Derived: `usage.rollup` computes whole days anew from the ledger.
    """

    org_id = models.CharField(max_length=30)
    metric = models.CharField(max_length=64)
    day = models.DateField()
    used = models.BigIntegerField()
    events = models.BigIntegerField()
    voided = models.BigIntegerField(
        default=0, db_default=0, help_text="Units of the day's events that were voided."
    )

    class Meta:
        verbose_name_plural = "daily usage"
        constraints = [
            models.UniqueConstraint(fields=["org_id", "metric", "day"], name="daily_usage_once"),
        ]
        indexes = [
            # A day computed anew: its rows are compared with the ledger's.
            models.Index(fields=["day", "metric"], name="daily_usage_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.metric} {self.day}: {self.used}"


class DailyTotal(models.Model):
    """What all organisations together used of one metric on one day (UTC), and were denied.

    `denied` counts denials, not units; it outlives the rows it was counted from.
    `computed_at` is when the day was last computed, also where nothing was used.
    """

    metric = models.CharField(max_length=64)
    day = models.DateField()
    used = models.BigIntegerField()
    events = models.BigIntegerField()
    organisations = models.PositiveIntegerField(help_text="How many used any.")
    denied = models.BigIntegerField(default=0)
    computed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["day", "metric"], name="daily_total_once"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.day}: {self.used}"


class CounterCheck(models.Model):
    """The one row that says what comparing counters with their rows last found.

    `drifted_at` stays until a comparison of all counters finds no difference.
    """

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    checked_at = models.DateTimeField()
    counters = models.PositiveIntegerField(help_text="How many the latest comparison looked at.")
    proven_at = models.DateTimeField(
        null=True, blank=True, help_text="When all counters were last found right."
    )
    drifted_at = models.DateTimeField(null=True, blank=True)
    drift = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="counter_check_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"checked at {self.checked_at}"
