"""Opening periods before anyone asks for them: a convenience, never a condition."""

from datetime import datetime

import structlog

from quotas import rules
from quotas.counters import open_periods
from quotas.models import Entitlement, UsageCounter

logger = structlog.get_logger("metergate.rollover")
_PAGE = 500


def open_early(*, now: datetime) -> int:
    """Open the current counters of entitlements that lack them; returns how many were opened.

    One short transaction per organisation, memory bounded by a page; safe to
    run twice, in parallel, or to be killed.
    """
    opened = 0
    last = 0
    while True:
        page = list(Entitlement.objects.filter(pk__gt=last).order_by("pk")[:_PAGE])
        if not page:
            return opened
        last = page[-1].pk
        current = set(
            UsageCounter.objects.filter(
                org_id__in=[entitlement.org_id for entitlement in page],
                period_start__lte=now,
                period_end__gt=now,
            ).values_list("org_id", "metric")
        )
        for entitlement in page:
            missing = [
                (metric, now)
                for metric in rules.metrics_of(entitlement)
                if (entitlement.org_id, metric) not in current
            ]
            if missing and rules.has_access(entitlement, now):
                open_periods(org_id=entitlement.org_id, wanted=missing, now=now)
                opened += len(missing)
