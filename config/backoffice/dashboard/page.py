"""The admin's index as a dashboard (unfold's `DASHBOARD_CALLBACK`)."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from config.backoffice import charts, ranges
from config.backoffice.dashboard import queries
from config.backoffice.dashboard.lights import clock_note, lights
from config.contract import clock


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add what the dashboard shows. Who may read nothing sees nothing."""
    if not request.user.has_perm("usage.view_dailytotal"):
        return context
    now = clock.now()
    days = ranges.asked_days(request.GET, now=now)
    near, trials = queries.near_quota(now=now), queries.ending_trials(now=now)
    shown = [*(row.org_id for row in near), *(row.org_id for row in trials)]
    names = queries.names_of(shown)
    totals = queries.daily_totals(days)
    statuses = queries.by_status()
    signed_up = charts.by_day(
        "Sign-ups", queries.sign_ups(days), first=days.first, last=days.last, nth=2
    )
    return {
        **context,
        "title": "Dashboard",
        "dashboard": {
            "now": now,
            "days": days,
            "choices": ranges.CHOICES,
            "lights": lights(now=now),
            "clock_note": clock_note(),
            "usage": charts.of_metrics(totals, first=days.first, last=days.last),
            "decisions": queries.decisions(totals, days),
            "denials_url": reverse("admin:quotas_denial_changelist"),
            "statuses": statuses,
            "organisations": sum(one.count for one in statuses),
            "suspended": queries.suspended(),
            "sign_ups": signed_up,
            "near": queries.named_counters(near, names),
            "trials": queries.named_trials(trials, names),
            "trials_count": queries.count_ending_trials(now=now),
            "entitlements_url": reverse("admin:quotas_entitlement_changelist"),
            "access_url": reverse("admin:tokens_orgaccess_changelist"),
        },
    }
