"""The numbers of the dashboard. Each is one query whose cost does not grow with the ledger."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, F, FloatField, Q, QuerySet
from django.db.models.functions import Cast, NullIf, TruncDate

from billing.models import Organization
from config.backoffice import charts
from config.backoffice.ranges import Days
from quotas.models import Entitlement, Overage, Status, UsageCounter
from tokens.models import OrgAccess
from usage.models import DailyTotal

#: A quota counts as nearly spent from this share of its limit on.
NEAR = 0.8
#: How many rows a list of the dashboard has.
ROWS = 10
#: How far ahead the ends of trials are told.
SOON = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Decisions:
    """Uses that were counted and uses that were denied. `rate` of denied, in percent."""

    chart: charts.Chart
    counted: int
    denied: int

    @property
    def rate(self) -> float:
        """Denied of all that was asked for."""
        return 100 * self.denied / (self.counted + self.denied or 1)


@dataclass(frozen=True, slots=True)
class StatusCount:
    """Organisations in one status. `share` is in percent of all."""

    status: str
    label: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class NearQuota:
    """One counter near its limit or past it. `percent` may exceed 100."""

    org_id: str
    name: str
    metric: str
    used: int
    limit: int
    percent: float
    overage: bool

    @property
    def width(self) -> float:
        """How much of a bar it fills, in percent."""
        return min(100.0, self.percent)


@dataclass(frozen=True, slots=True)
class EndingTrial:
    """A trial that ends soon."""

    org_id: str
    name: str
    ends_at: datetime


def daily_totals(days: Days) -> list[DailyTotal]:
    """Return use by metric and day."""
    return list(
        DailyTotal.objects.filter(day__gte=days.first, day__lte=days.last).order_by("day", "metric")
    )


def decisions(totals: Sequence[DailyTotal], days: Days) -> Decisions:
    """Return how often a use was counted and how often one was denied, all metrics together."""
    counted: dict[date, int] = {}
    denied: dict[date, int] = {}
    for row in totals:
        counted[row.day] = counted.get(row.day, 0) + row.events
        denied[row.day] = denied.get(row.day, 0) + row.denied
    chart = charts.stacked(
        "Events counted and uses denied",
        {"counted": counted, "denied": denied},
        first=days.first,
        last=days.last,
        colours=charts.ALLOWED_AND_DENIED,
    )
    return Decisions(chart, sum(counted.values()), sum(denied.values()))


def by_status() -> list[StatusCount]:
    """Return how many organisations are in each status, and how many are suspended."""
    counts = dict(Entitlement.objects.order_by().values_list("status").annotate(count=Count("pk")))
    total = sum(counts.values()) or 1
    return [
        StatusCount(status.value, status.label, counts[status], 100 * counts[status] / total)
        for status in Status
        if counts.get(status)
    ]


def suspended() -> int:
    """Return how many organisations are suspended."""
    return OrgAccess.objects.organisations().filter(suspended_at__isnull=False).count()


def near_quota(*, now: datetime) -> list[UsageCounter]:
    """Return the counters of running periods that are fullest, from NEAR on."""
    running = UsageCounter.objects.filter(
        closed_at__isnull=True, period_end__gt=now, period_start__lte=now
    )
    used = Cast(F("counted") - F("forgiven"), FloatField())
    limit = Cast(F("included") + F("adjusted"), FloatField())
    return list(
        running.annotate(share=used / NullIf(limit, 0.0))
        # A limit below zero is no limit that could be near.
        .filter(share__gte=NEAR, included__gt=-F("adjusted"))
        .order_by("-share", "org_id", "metric")[:ROWS]
    )


def ending_trials(*, now: datetime) -> list[Entitlement]:
    """Return the trials that end first."""
    return list(_ending(now).order_by("trial_ends_at", "org_id")[:ROWS])


def count_ending_trials(*, now: datetime) -> int:
    """Return how many trials end within SOON."""
    return _ending(now).count()


def sign_ups(days: Days) -> dict[date, int]:
    """Return how many organisations signed up, by day."""
    within = Q(created_at__date__gte=days.first, created_at__date__lte=days.last)
    by_day = Organization.objects.order_by().annotate(day=TruncDate("created_at")).filter(within)
    return dict(by_day.values_list("day").annotate(count=Count("pk")))


def names_of(org_ids: Collection[str]) -> dict[str, str]:
    """Return the organisations' names by id."""
    return dict(Organization.objects.filter(org_id__in=set(org_ids)).values_list("org_id", "name"))


def named_counters(rows: Sequence[UsageCounter], names: dict[str, str]) -> list[NearQuota]:
    """Return the rows of the list of nearly spent quotas."""
    return [
        NearQuota(
            org_id=row.org_id,
            name=names.get(row.org_id, row.org_id),
            metric=row.metric,
            used=row.used,
            limit=row.limit,
            percent=100 * row.used / row.limit,
            overage=row.overage == Overage.ALLOW,
        )
        for row in rows
    ]


def named_trials(rows: Sequence[Entitlement], names: dict[str, str]) -> list[EndingTrial]:
    """Return the rows of the list of ending trials."""
    return [
        EndingTrial(row.org_id, names.get(row.org_id, row.org_id), row.trial_ends_at)
        for row in rows
        if row.trial_ends_at is not None
    ]


def _ending(now: datetime) -> "QuerySet[Entitlement]":
    return Entitlement.objects.filter(
        status=Status.TRIALING, trial_ends_at__gte=now, trial_ends_at__lt=now + SOON
    )
