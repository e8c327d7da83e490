"""What the page says of each metric: how much is used, how long it lasts, day by day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypedDict

from billing.portal import forecast
from billing.portal.chart import Chart, chart_of
from billing.text import metric_name
from quotas import rules
from quotas.models import Overage
from quotas.periods import Period
from quotas.queries import CurrentEntitlement, MetricUse
from usage.daily import use_by_day

#: More days than this are too thin to see; a longer period shows its last ones.
_MOST_DAYS = 31
_DAY = timedelta(days=1)
#: From so many percent on a gauge says that it fills up.
_NEARLY = 80
_URGENCY = {"spent": "bad", "runs_out": "warn"}
DENIED = "Requests are denied while there is no running plan."


@dataclass(frozen=True, slots=True)
class Card:
    """One metric. `percent` is 0 to 100; `over` are units past what is included.

    `tone` is of the gauge, `urgency` of the forecast: good, warn or bad.
    """

    code: str
    name: str
    included: int
    used: int
    remaining: int
    over: int
    percent: int
    tone: str
    forecast: str
    urgency: str
    denied: bool
    chart: Chart


class _Outlook(TypedDict):
    forecast: str
    urgency: str
    denied: bool


def cards(current: CurrentEntitlement, *, now: datetime) -> list[Card]:
    """Return a card for each metric that the plan or the organisation's use names."""
    first, last = _days(current.period, today=now.date())
    since = max(_midnight(now) - forecast.WINDOW_DAYS * _DAY, current.entitlement.started_at)
    used = use_by_day(
        org_id=current.entitlement.org_id,
        metrics=list(current.metrics),
        first=min(first, since.date()),
        last=now.date(),
    )
    return [
        Card(
            code=one.metric,
            name=metric_name(one.metric),
            included=one.included,
            used=one.used,
            remaining=one.remaining,
            over=max(0, one.used - one.included),
            percent=_share(one),
            tone=_tone(one),
            chart=chart_of(
                used[one.metric],
                first=first,
                last=last,
                today=now.date(),
                a_day=one.included / (current.period.seconds / _DAY.total_seconds()),
            ),
            **_outlook(current, one, used[one.metric], since=since, now=now),
        )
        for one in current.metrics.values()
    ]


def _outlook(
    current: CurrentEntitlement,
    use: MetricUse,
    used_on: Mapping[date, int],
    *,
    since: datetime,
    now: datetime,
) -> _Outlook:
    if not rules.has_access(current.entitlement, now):
        return {"forecast": DENIED, "urgency": "good", "denied": True}
    resets_at, charged = current.period.end, use.overage == Overage.ALLOW
    found = forecast.forecast(
        included=use.included,
        used=use.used,
        recent=sum(used for day, used in used_on.items() if day >= since.date()),
        since=since,
        now=now,
        resets_at=resets_at,
    )
    return {
        "forecast": forecast.sentence(found, resets_at=resets_at, charged=charged),
        "urgency": "good" if charged else _URGENCY.get(found.kind, "good"),
        "denied": False,
    }


def _days(period: Period, *, today: date) -> tuple[date, date]:
    """Return the days to draw: the whole period, or of a longer one those up to today."""
    first = period.start.date()
    last = (period.end - timedelta(microseconds=1)).date()
    if last - first < _MOST_DAYS * _DAY:
        return first, last
    first = max(first, today - (_MOST_DAYS - 1) * _DAY)
    return first, min(last, first + (_MOST_DAYS - 1) * _DAY)


def _share(use: MetricUse) -> int:
    return 100 if use.included == 0 else min(100, use.used * 100 // use.included)


def _tone(use: MetricUse) -> str:
    share = _share(use)
    if share >= 100:
        return "warn" if use.overage == Overage.ALLOW else "bad"
    return "warn" if share >= _NEARLY else "good"


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
