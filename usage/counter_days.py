"""The days behind one counter, exactly as the ledger has them, mostly without reading it.

Kept days (usage.rollup) may be behind the ledger but never ahead of it: events and voids are
only ever added. So where the kept days of a counter add up to what the counter itself says, no
day lacks anything. Where they do not, the ledger is read for what is missing, newest days
first, because most of what came since the days were computed is young.

Whoever reads a counter that still counts does it in the counter's snapshot
(config.contract.snapshot), or a use that comes between is taken for a missing one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection
from django.db.models import Sum

from quotas.models import UsageCounter
from quotas.periods import TICK
from usage.models import DailyUsage, UsageVoid
from usage.rollup import days_between

_DAY = timedelta(days=1)
_RECORDED = """
SELECT (counted_at AT TIME ZONE 'UTC')::date, sum(value)
  FROM usage_usageevent
 WHERE metric = %(metric)s AND org_id = %(org)s
   AND counted_at >= %(start)s AND counted_at < %(end)s AND period_start = %(period_start)s
 GROUP BY 1
"""
# A void has no day of its own: it is its event's.
_VOIDED = """
SELECT (e.counted_at AT TIME ZONE 'UTC')::date, sum(v.value)
  FROM usage_usagevoid v
  JOIN usage_usageevent e ON (e.org_id, e.request_id) = (v.org_id, v.request_id)
 WHERE v.org_id = %(org)s AND v.metric = %(metric)s AND v.period_start = %(period_start)s
   AND e.counted_at >= %(start)s AND e.counted_at < %(end)s
 GROUP BY 1
"""
_Units = dict[date, int]


@dataclass(frozen=True, slots=True)
class CounterDays:
    """Units used on each day (UTC) that had any, oldest first, and the units voided."""

    used: _Units
    voided: int


def days_of(counter: UsageCounter) -> CounterDays:
    """Return the days behind a counter: the kept ones where they are proven, else the ledger's."""
    kept = _kept(counter)
    voided = _voided_units(counter)
    used = {day: row.used for day, row in kept.items() if row.used}
    if sum(used.values()) == counter.counted and sum(one.voided for one in kept.values()) == voided:
        return CounterDays(used, voided)
    voids = _by_day(_VOIDED, counter, counter.period_start, counter.period_end)
    recorded = {day: row.used + row.voided for day, row in kept.items()}
    for day, units in voids.items():
        # What was voided was recorded.
        recorded[day] = max(recorded.get(day, 0), units)
    missing = counter.counted + sum(voids.values()) - sum(recorded.values())
    for start, end in _spans(counter):
        if not missing:
            break
        for day in days_between(start.date(), (end - TICK).date()):
            missing += recorded.pop(day, 0)
        read = _by_day(_RECORDED, counter, start, end)
        missing -= sum(read.values())
        recorded |= read
    return CounterDays(_net(recorded, voids), voided)


def days_in_ledger(counter: UsageCounter) -> CounterDays:
    """Return the days behind a counter, all of them read from the ledger."""
    period = (counter.period_start, counter.period_end)
    recorded, voids = _by_day(_RECORDED, counter, *period), _by_day(_VOIDED, counter, *period)
    return CounterDays(_net(recorded, voids), _voided_units(counter))


def _net(recorded: _Units, voids: _Units) -> _Units:
    net = {day: units - voids.get(day, 0) for day, units in sorted(recorded.items())}
    return {day: units for day, units in net.items() if units}


def _kept(counter: UsageCounter) -> dict[date, DailyUsage]:
    """Return the kept days that lie in the counter's period whole."""
    first, end = _whole_days(counter)
    rows = DailyUsage.objects.filter(
        org_id=counter.org_id, metric=counter.metric, day__gte=first, day__lt=end
    )
    return {row.day: row for row in rows.order_by("day")}


def _whole_days(counter: UsageCounter) -> tuple[date, date]:
    """Return the first day that lies in the period whole, and the day behind the last one."""
    first = (counter.period_start.astimezone(UTC) + _DAY - TICK).date()
    return first, max(first, counter.period_end.astimezone(UTC).date())


def _spans(counter: UsageCounter) -> Iterator[tuple[datetime, datetime]]:
    """Yield the parts of the period in the order in which use is looked for.

    Days that are in it in part are not kept for it. Then the whole ones from the latest
    change back, each part twice as long as the one before; then what lies ahead.
    """
    start, end = counter.period_start.astimezone(UTC), counter.period_end.astimezone(UTC)
    first, behind = (_midnight(day) for day in _whole_days(counter))
    if end <= first:
        yield start, end
        return
    if start < first:
        yield start, first
    if behind < end:
        yield behind, end
    latest = _midnight(counter.updated_at.astimezone(UTC).date() + _DAY)
    upper = latest = min(max(latest, first), behind)
    length = _DAY
    while upper > first:
        lower = max(first, upper - length)
        yield lower, upper
        upper, length = lower, 2 * length
    if latest < behind:
        yield latest, behind


def _by_day(statement: str, counter: UsageCounter, start: datetime, end: datetime) -> _Units:
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                "org": counter.org_id,
                "metric": counter.metric,
                "period_start": counter.period_start,
                "start": start,
                "end": end,
            },
        )
        return {day: int(units) for day, units in cursor.fetchall()}


def _voided_units(counter: UsageCounter) -> int:
    rows = UsageVoid.objects.filter(
        org_id=counter.org_id, metric=counter.metric, period_start=counter.period_start
    )
    return int(rows.aggregate(units=Sum("value"))["units"] or 0)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
