"""Use by day, for one organisation: computed days as they are kept, the rest from the ledger.

The days kept (usage.rollup) are a few minutes behind where an event came late or was
voided; a day that has not been computed since it ended is read from the ledger.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection
from django.db.models import Max

from usage.models import DailyTotal, DailyUsage

_DAY = timedelta(days=1)
# An event that was voided is no use of its day; the void has no day of its own.
_FROM_THE_LEDGER = """
SELECT e.metric, (e.counted_at AT TIME ZONE 'UTC')::date, sum(e.value)
  FROM usage_usageevent e
 WHERE e.org_id = %(org)s AND e.metric = ANY(%(metrics)s)
   AND e.counted_at >= %(start)s AND e.counted_at < %(end)s
   AND NOT EXISTS (SELECT FROM usage_usagevoid v
                    WHERE v.org_id = e.org_id AND v.request_id = e.request_id)
 GROUP BY 1, 2
"""


def use_by_day(
    *, org_id: str, metrics: Sequence[str], first: date, last: date
) -> dict[str, dict[date, int]]:
    """Return the units used on each day (UTC) from `first` to `last`, by metric.

    Days without use are left out. Three queries, however many the metrics and events.
    """
    found: dict[str, dict[date, int]] = {metric: {} for metric in metrics}
    open_from = _first_open(first, last)
    kept = DailyUsage.objects.filter(
        org_id=org_id, metric__in=metrics, day__gte=first, day__lt=open_from
    )
    for metric, day, used in kept.values_list("metric", "day", "used"):
        found[metric][day] = used
    if open_from <= last:
        with connection.cursor() as cursor:
            cursor.execute(
                _FROM_THE_LEDGER,
                {
                    "org": org_id,
                    "metrics": list(metrics),
                    "start": _midnight(open_from),
                    "end": _midnight(last + _DAY),
                },
            )
            for metric, day, used in cursor.fetchall():
                found[metric][day] = int(used)
    return found


def _first_open(first: date, last: date) -> date:
    """Return the first day that was not computed since it ended."""
    computed = dict(
        DailyTotal.objects.filter(day__gte=first, day__lte=last)
        .values_list("day")
        .annotate(at=Max("computed_at"))
    )
    day = first
    while day <= last and day in computed and computed[day] >= _midnight(day + _DAY):
        day += _DAY
    return day


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
