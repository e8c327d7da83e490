"""The ledger, to look at. The database refuses to change it, whoever asks."""

from django.contrib import admin

from config.contract.admin import OrgAdmin, ReadOnlyAdmin, ReadOnlyInline, units
from quotas.admin import MetricFilter
from usage.models import (
    CounterCheck,
    DailyTotal,
    DailyUsage,
    ImportedLog,
    ImportRun,
    UsageEvent,
    UsageVoid,
)


class LedgerAdmin(OrgAdmin):
    """Rows by organisation and request id: together they are one index look-up."""

    list_filter = (MetricFilter,)
    search_fields = ("request_id__exact",)
    search_help_text = "Organisation id, request id, or best both: org_… req-…"


@admin.register(UsageEvent)
class UsageEventAdmin(LedgerAdmin):
    """What was used, each with the answer that was given for it."""

    list_display = (
        "request_id",
        "organization",
        "metric",
        units("value"),
        "period_key",
        "occurred_at",
        "recorded_at",
        units("used_after"),
        units("remaining_after"),
    )


@admin.register(UsageVoid)
class UsageVoidAdmin(LedgerAdmin):
    """What was taken back, by whom and why."""

    list_display = (
        "request_id",
        "organization",
        "metric",
        units("value"),
        "period_key",
        "reason",
        "voided_by",
        "voided_at",
    )


class ImportedLogInline(ReadOnlyInline):
    """The logs of a source, known by their first lines."""

    model = ImportedLog
    fields = ("part", "lines", "is_whole")


@admin.register(ImportRun)
class ImportRunAdmin(OrgAdmin):
    """Access logs that were imported."""

    inlines = (ImportedLogInline,)

    list_display = (
        "source",
        "organization",
        "metric",
        "shift_seconds",
        units("read"),
        units("accepted"),
        units("duplicate"),
        units("rejected"),
        "created_at",
        "finished_at",
    )
    list_filter = (("finished_at", admin.EmptyFieldListFilter), MetricFilter)
    search_fields = ("source",)
    search_help_text = "Organisation id or source"
    date_hierarchy = "created_at"


@admin.register(DailyUsage)
class DailyUsageAdmin(OrgAdmin):
    """Use by day of each organisation, computed from the ledger."""

    list_display = ("day", "organization", "metric", units("used"), units("events"))
    list_filter = (MetricFilter,)
    search_fields = ("metric__exact",)
    search_help_text = "Organisation id or metric"


@admin.register(DailyTotal)
class DailyTotalAdmin(ReadOnlyAdmin):
    """Use by day of all organisations together: what the dashboard draws."""

    list_display = (
        "day",
        "metric",
        units("used"),
        units("events"),
        units("organisations"),
        "computed_at",
    )
    list_filter = (MetricFilter,)
    ordering = ("-day", "metric")
    date_hierarchy = "day"


@admin.register(CounterCheck)
class CounterCheckAdmin(ReadOnlyAdmin):
    """What comparing the counters with the ledger last found."""

    list_display = ("checked_at", "counters", "proven_at", "drifted_at", "drift")
