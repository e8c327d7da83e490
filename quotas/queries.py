"""Reads that span this app's tables."""

from dataclasses import dataclass
from datetime import datetime

from quotas import counters, rules
from quotas.models import Entitlement, UsageCounter
from quotas.periods import Period

HEADLINE_METRIC = "api_call"


@dataclass(frozen=True, slots=True)
class MetricUse:
    """What is included and used of one metric in the current period."""

    metric: str
    included: int
    used: int
    remaining: int
    overage: str


@dataclass(frozen=True, slots=True)
class CurrentEntitlement:
    """What an organisation may use at an instant, and what it has used."""

    entitlement: Entitlement
    plan_code: str
    period: Period
    metrics: dict[str, MetricUse]

    @property
    def headline(self) -> MetricUse:
        """The metric whose numbers stand on top."""
        empty = MetricUse(HEADLINE_METRIC, 0, 0, 0, rules.NOTHING.overage)
        return self.metrics.get(HEADLINE_METRIC, empty)


def current_entitlement(*, org_id: str, now: datetime) -> CurrentEntitlement | None:
    """Return what an organisation may use at `now`; None where nothing was ever granted.

    Two queries. A counter that nobody has touched yet is shown as it would open.
    """
    entitlement = Entitlement.objects.filter(org_id=org_id).first()
    if entitlement is None:
        return None
    period = rules.period_of(entitlement, now, known_at=now)
    opened = {
        counter.metric: counter
        for counter in UsageCounter.objects.filter(org_id=org_id, period_start=period.start)
    }
    names = sorted({*rules.metrics_of(entitlement), *opened})
    return CurrentEntitlement(
        entitlement=entitlement,
        plan_code=rules.plan_code_at(entitlement, now),
        period=period,
        metrics={
            metric: _use(entitlement, metric, opened.get(metric), period, now) for metric in names
        },
    )


def unopened_counters(*, org_id: str, now: datetime) -> list[UsageCounter]:
    """Return the counters of the period around `now` that nobody has touched yet, by metric.

    As they would open, and not saved: a period is there from its first instant, whether or
    not something has opened it. None where nothing was ever granted.
    """
    entitlement = Entitlement.objects.filter(org_id=org_id).first()
    if entitlement is None:
        return []
    period = rules.period_of(entitlement, now, known_at=now)
    opened = UsageCounter.objects.filter(org_id=org_id, period_start=period.start)
    return [
        counters.new_counter(entitlement, metric, period, now=now)
        for metric in sorted(
            {*rules.metrics_of(entitlement)} - {*opened.values_list("metric", flat=True)}
        )
    ]


def _use(
    entitlement: Entitlement,
    metric: str,
    counter: UsageCounter | None,
    period: Period,
    now: datetime,
) -> MetricUse:
    limit = rules.limit_for(
        entitlement, metric, period_start=period.start, period_end=period.end, at=now
    )
    included = max(0, limit.included + (counter.adjusted if counter else 0))
    used = counter.used if counter else 0
    return MetricUse(
        metric=metric,
        included=included,
        used=used,
        remaining=max(0, included - used),
        overage=limit.overage,
    )
