"""What the page says of each metric: how much is used, how long it lasts, day by day."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.portal import forecast
from billing.portal.chart import Chart, chart_of
from billing.portal.text import metric_name
from quotas import rules
from quotas.models import Overage
from quotas.queries import CurrentEntitlement, MetricUse
from usage.queries import series

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


def cards(current: CurrentEntitlement, *, now: datetime) -> list[Card]:
    """Return a card for each metric the plan or its use names. One query each."""
    return [_card(current, one, now=now) for one in current.metrics.values()]


def _card(current: CurrentEntitlement, use: MetricUse, *, now: datetime) -> Card:
    entitlement, period = current.entitlement, current.period
    today = _midnight(now)
    since = max(today - forecast.WINDOW_DAYS * _DAY, entitlement.started_at)
    first = max(_midnight(period.start), today - (_MOST_DAYS - 1) * _DAY)
    if period.end - first <= _MOST_DAYS * _DAY:
        last = period.end - timedelta(microseconds=1)
    else:
        last = min(first + (_MOST_DAYS - 1) * _DAY, period.end)
    points = series(
        org_id=entitlement.org_id,
        metric=use.metric,
        start=min(first, _midnight(since)),
        end=max(now, today + timedelta(seconds=1)),
        by="day",
    )
    used_on = {point.at.date(): point.used for point in points}
    charged = use.overage == Overage.ALLOW
    found = forecast.forecast(
        included=use.included,
        used=use.used,
        recent=sum(used for on, used in used_on.items() if on >= since.date()),
        since=since,
        now=now,
        resets_at=period.end,
    )
    denied = not rules.has_access(entitlement, now)
    share = 100 if use.included == 0 else min(100, use.used * 100 // use.included)
    return Card(
        code=use.metric,
        name=metric_name(use.metric),
        included=use.included,
        used=use.used,
        remaining=use.remaining,
        over=max(0, use.used - use.included),
        percent=share,
        tone=_tone(share, charged=charged),
        forecast=DENIED
        if denied
        else forecast.sentence(found, resets_at=period.end, charged=charged),
        urgency="good" if denied or charged else _URGENCY.get(found.kind, "good"),
        denied=denied,
        chart=chart_of(
            used_on,
            first=first.date(),
            last=last.date(),
            today=today.date(),
            a_day=_a_day(use.included, period.start, period.end),
        ),
    )


def _tone(share: int, *, charged: bool) -> str:
    if share >= 100:
        return "warn" if charged else "bad"
    return "warn" if share >= _NEARLY else "good"


def _a_day(included: int, start: datetime, end: datetime) -> float:
    return included / ((end - start) / _DAY)


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
