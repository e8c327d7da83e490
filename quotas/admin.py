"""What organisations may use and have used, to look at."""

from collections.abc import Iterable
from typing import Any, ClassVar
from urllib.parse import urlencode

from dateutil.relativedelta import relativedelta
from django.contrib import admin
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config.contract import clock
from config.contract.admin import (
    OrgAdmin,
    ReadOnlyAdmin,
    badge,
    page_link,
    units,
)
from config.contract.history_admin import HistoryAdmin, history_of
from quotas.crossings import ThresholdChoice, ThresholdCrossed
from quotas.denial_models import Denial, DeniedRequest
from quotas.models import (
    Adjustment,
    CounterRepair,
    Entitlement,
    Forgiveness,
    Metric,
    Overage,
    UsageCounter,
)

STATUS_COLOURS = {
    "active": "success",
    "trialing": "info",
    "past_due": "warning",
    "incomplete": "warning",
    "paused": "warning",
    "unpaid": "danger",
    "canceled": "danger",
    "incomplete_expired": "danger",
}


class MetricFilter(admin.SimpleListFilter):
    """By metric. The choices come from the catalogue: a ledger is too long to ask."""

    title = "metric"
    parameter_name = "metric"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return every metric that was ever counted."""
        return [
            (code, code) for code in Metric.objects.order_by("code").values_list("pk", flat=True)
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the metric's rows."""
        return queryset.filter(metric=self.value()) if self.value() else queryset


class MonthFilter(admin.SimpleListFilter):
    """By calendar month, this one and the eleven before."""

    title = "period"
    parameter_name = "period_key"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return twelve months, newest first."""
        now = clock.now()
        months = [now - relativedelta(months=back) for back in range(12)]
        return [(f"{month:%Y-%m}", f"{month:%B %Y}") for month in months]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the period's rows."""
        return queryset.filter(period_key=self.value()) if self.value() else queryset


class SpentFilter(admin.SimpleListFilter):
    """Counters with nothing left: those that block, and those that go on for money."""

    title = "quota"
    parameter_name = "quota"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the choices."""
        return [("blocked", "Spent, blocked"), ("overage", "Spent, overage")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep what is spent."""
        overage = {"blocked": Overage.BLOCK, "overage": Overage.ALLOW}.get(self.value() or "")
        if overage is None:
            return queryset
        limit = Greatest(F("included") + F("adjusted"), 0)
        return queryset.filter(overage=overage, counted__gte=limit + F("forgiven"))


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    """What is counted. It comes from the plan catalogue."""

    list_display = ("code",)
    search_fields = ("code",)
    ordering = ("code",)


@admin.register(Entitlement)
class EntitlementAdmin(OrgAdmin):
    """What each organisation may use."""

    known_by = "org_id"
    list_display = (
        "organization",
        "plan_code",
        badge("status", STATUS_COLOURS),
        "status_since",
        "trial_ends_at",
        "scheduled_plan_code",
        "scheduled_at",
    )
    list_display_links = ("plan_code",)
    list_filter = (
        "status",
        "plan_code",
        "period_rule",
        ("scheduled_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("plan_code__exact", "scheduled_plan_code__exact")
    search_help_text = "Organisation id or plan code"


@admin.register(UsageCounter)
class UsageCounterAdmin(OrgAdmin):
    """What was used in each period. The ledger explains every unit of it."""

    list_display = (
        "period_key",
        "metric",
        "organization",
        units("used"),
        units("limit"),
        units("remaining"),
        "overage",
        "access",
        "valid_until",
        "version",
    )
    list_filter = (MetricFilter, MonthFilter, SpentFilter, "overage")
    search_fields = ("metric__exact", "period_key__exact")
    search_help_text = "Organisation id, metric or period key"
    extra_fields = ("used", "limit", "remaining", "entitlement", *OrgAdmin.extra_fields)
    export_columns = ("used", "limit", "remaining")

    @admin.display(description="entitlement")
    def entitlement(self, obj: UsageCounter) -> SafeString:
        """What the counter's limit comes from."""
        return page_link("quotas_entitlement", obj.org_id)


@admin.register(ThresholdCrossed)
class ThresholdCrossedAdmin(OrgAdmin):
    """Which share of a limit was reached, once per period, metric and limit."""

    list_display = (
        "pk",
        "organization",
        "metric",
        "period_key",
        "percent",
        units("units_limit"),
        units("used"),
        "crossed_at",
        "told_at",
    )
    list_filter = (MetricFilter, MonthFilter, ("told_at", admin.EmptyFieldListFilter))
    search_fields = ("period_key__exact",)
    search_help_text = "Organisation id or period key"


@admin.register(ThresholdChoice)
class ThresholdChoiceAdmin(OrgAdmin):
    """Who chose other thresholds than 50, 80 and 100 percent."""

    list_display = ("pk", "organization", "percents", "updated_at")
    search_fields = ("org_id__exact",)
    search_help_text = "Organisation id"


@admin.register(Adjustment, Forgiveness)
class CorrectionAdmin(OrgAdmin):
    """What staff gave, took or forgave, and why."""

    list_display = (
        "pk",
        "organization",
        "metric",
        "period_start",
        units("units"),
        "reason",
        "made_by",
        "made_at",
    )
    list_filter = (MetricFilter,)
    search_fields = ("made_by__exact",)
    search_help_text = "Organisation id, or who did it"


@admin.register(CounterRepair)
class CounterRepairAdmin(OrgAdmin):
    """Counters that were set back to what their rows say. There should be none."""

    list_display = ("pk", "organization", "metric", "period_start", "made_by", "made_at")
    list_filter = (MetricFilter,)
    search_fields = ("made_by__exact",)
    search_help_text = "Organisation id, or who did it"


def why_link(**asked: str) -> SafeString:
    """Return a link to the page that explains."""
    url = f"{reverse('admin:explain')}?{urlencode(asked)}"
    return format_html('<a class="text-link" href="{}">Why?</a>', url)


class DeniedAdmin(OrgAdmin):
    """Found by whatever id of a denied request: those have indexes that a plain OR misses."""

    search_fields = ("pk",)  # or there would be no box to search in
    search_help_text = "Organisation id; request, correlation or use id"
    found_by: ClassVar[str]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Narrow to the organisations named, then to the requests known by each other word."""
        words = search_term.split()
        orgs = " ".join(word for word in words if word.startswith("org_"))
        queryset, _ = super().get_search_results(request, queryset, orgs)
        for word in words:
            if not word.startswith("org_"):
                known = DeniedRequest.objects.known_as(word)
                queryset = queryset.filter(pk__in=known.values(self.found_by))
        return queryset, False


@admin.register(Denial)
class DenialAdmin(DeniedAdmin):
    """What was denied, by counter and minute. A request's own id finds it too."""

    list_display = (
        "minute",
        "organization",
        "metric",
        badge("code", {"RATE_LIMITED": "warning", "PAYMENT_REQUIRED": "danger"}),
        units("count"),
        "used",
        "included",
        "explained",
        "last_correlation_id",
    )
    list_filter = ("code", MetricFilter)
    found_by = "denial_id"
    extra_fields = ("remaining", "explained", *OrgAdmin.extra_fields)

    @admin.display(description="explained")
    def explained(self, obj: Denial) -> SafeString:
        """Why they were denied: the first of them, whose ids are always kept."""
        if obj.first_request_id:
            return why_link(id=obj.first_request_id)
        return why_link(org=obj.org_id, metric=obj.metric, at=obj.first_at.isoformat())


@admin.register(DeniedRequest)
class DeniedRequestAdmin(DeniedAdmin):
    """Denied requests by their ids."""

    org_lookup = "denial__org_id"
    list_display = (
        "at",
        "organization",
        "denial_page",
        "explained",
        units("value"),
        "door",
        "decided_by",
        "request_id",
        "correlation_id",
        "use_id",
    )
    list_select_related = ("denial",)
    found_by = "pk"
    extra_fields = ("organization", "explained", *OrgAdmin.extra_fields)
    export_columns = ("org_of",)

    @admin.display(description="explained")
    def explained(self, obj: DeniedRequest) -> SafeString:
        """Why it was denied."""
        return why_link(id=obj.request_id or obj.use_id)

    @admin.display(description="denial")
    def denial_page(self, obj: DeniedRequest) -> SafeString:
        """The row it is counted in."""
        return page_link("quotas_denial", str(obj.denial_id))


admin.site.register(history_of("quotas"), HistoryAdmin)
