"""The ledger, to look at. The database refuses to change it, whoever asks."""

from django.contrib import admin

from config.contract.admin import OrgAdmin, units
from quotas.admin import MetricFilter
from usage.models import ImportRun, UsageEvent, UsageVoid


class LedgerAdmin(OrgAdmin):
    """Rows by organization and request id: together they are one index look-up."""

    list_filter = (MetricFilter,)
    search_fields = ("request_id__exact",)
    search_help_text = "Organization id, request id, or best both: org_… req-…"


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


@admin.register(ImportRun)
class ImportRunAdmin(OrgAdmin):
    """Access logs that were imported."""

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
    search_help_text = "Organization id or source"
    date_hierarchy = "created_at"
