"""Reading the ledger."""

import base64
import binascii
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from django.db import connection
from django.db.models import QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan

from config.contract.bodies import is_in_calendar
from config.contract.errors import ValidationFailed
from config.contract.snapshot import one_snapshot
from quotas import catalogue
from quotas.models import UsageCounter
from quotas.periods import TICK
from usage.counter_days import days_of
from usage.models import UsageEvent, UsageVoid

#: The longest series: 100 days of hours, or as many days.
MOST_POINTS = 2400
_STEP = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
# An event that was voided is no use of its day; the void has no day of its own.
_SERIES = """
SELECT date_trunc(%(by)s, e.counted_at, 'UTC') AS at, sum(e.value)
  FROM usage_usageevent e
 WHERE e.org_id = %(org)s AND e.metric = %(metric)s
   AND e.counted_at >= %(start)s AND e.counted_at < %(end)s
   AND NOT EXISTS (SELECT FROM usage_usagevoid v
                    WHERE v.org_id = e.org_id AND v.request_id = e.request_id)
 GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page of events, newest first, each with its void if it has one."""

    events: list[tuple[UsageEvent, UsageVoid | None]]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Point:
    """Units used from `at` on, for one hour or one day."""

    at: datetime
    used: int


def list_events(
    *,
    org_id: str,
    metric: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    request_id: str | None = None,
    cursor: str | None = None,
    limit: int,
) -> EventPage:
    """Return a page of an organisation's events by where they were counted, newest first.

    `[start, end)`. A page reads about as many events as it shows, wherever it lies. Raises
    ValidationFailed for a cursor that is none of ours.
    """
    rows = UsageEvent.objects.filter(org_id=org_id)
    if start is not None:
        rows = rows.filter(counted_at__gte=start)
    if end is not None:
        rows = rows.filter(counted_at__lt=end)
    if cursor is not None:
        rows = rows.filter(TupleLessThan(Tuple("counted_at", "pk"), _decode(cursor)))
    if request_id is not None:
        rows = rows.filter(request_id=request_id)
    if metric is not None:
        of_each = [rows.filter(metric=metric)]
    elif request_id is not None:
        of_each = [rows]  # one at most
    else:
        of_each = [rows.filter(metric=code) for code in catalogue.codes()]
    page = _newest(of_each, limit + 1)
    more, page = len(page) > limit, page[:limit]
    return EventPage(
        events=_with_voids(org_id, page),
        next_cursor=_encode(page[-1]) if more else None,
    )


def series(
    *, org_id: str, metric: str, start: datetime, end: datetime, by: Literal["hour", "day"]
) -> list[Point]:
    """Return the use of each hour or day (UTC) of `[start, end)`, empty ones included.

    Raises ValidationFailed for a range that is empty or longer than MOST_POINTS.
    """
    step = _STEP[by]
    first = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if by == "day":
        first = first.replace(hour=0)
    if end <= start or (end - first) / step > MOST_POINTS:
        raise ValidationFailed({"to": [f"Expected a range of 1 to {MOST_POINTS} points"]})
    with one_snapshot():
        if by == "day":
            used = _by_day(org_id, metric, start, end)
        else:
            used = _by(by, org_id, metric, start, end)
    points = []
    at = first
    while at < end:
        points.append(Point(at, used.get(at, 0)))
        at += step
    return points


def _by_day(org_id: str, metric: str, start: datetime, end: datetime) -> dict[datetime, int]:
    """Return the use by day: of periods that lie in the range whole out of what is kept of them.

    Every use lies in the period of a counter, so nothing lies between them.
    """
    used: Counter[datetime] = Counter()
    for counter in UsageCounter.objects.filter(
        org_id=org_id, metric=metric, period_start__lt=end, period_end__gt=start
    ):
        # Nothing is counted later than the counter's latest change.
        last = min(counter.period_end - TICK, counter.updated_at)
        if start <= counter.period_start and last < end:
            for day, units in days_of(counter).used.items():
                used[datetime.combine(day, time(), UTC)] += units
        else:
            within = (max(start, counter.period_start), min(end, counter.period_end))
            used.update(_by("day", org_id, metric, *within))
    return used


def _by(step: str, org_id: str, metric: str, start: datetime, end: datetime) -> dict[datetime, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            _SERIES, {"by": step, "org": org_id, "metric": metric, "start": start, "end": end}
        )
        return {at: int(units) for at, units in cursor.fetchall()}


def _newest(of_each: Sequence[QuerySet[UsageEvent]], limit: int) -> list[UsageEvent]:
    """Return the newest events of several metrics, in one query.

    The newest of each come out of the index that the metric is read by; an index for all
    metrics together would cost every insert (docs/decisions.md).
    """
    order = ("-counted_at", "-pk")
    newest = [rows.order_by(*order)[:limit] for rows in of_each]
    if len(newest) < 2:
        return [event for rows in newest for event in rows]
    return list(newest[0].union(*newest[1:], all=True).order_by(*order)[:limit])


def _with_voids(
    org_id: str, page: Sequence[UsageEvent]
) -> list[tuple[UsageEvent, UsageVoid | None]]:
    ids = [event.request_id for event in page]
    voids = {
        void.request_id: void
        for void in UsageVoid.objects.filter(org_id=org_id, request_id__in=ids)
    }
    return [(event, voids.get(event.request_id)) for event in page]


def _encode(event: UsageEvent) -> str:
    text = f"{event.counted_at.astimezone(UTC).isoformat()}|{event.pk}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        at, _, pk = text.partition("|")
        moment, number = datetime.fromisoformat(at), int(pk)
        if moment.tzinfo is None or not is_in_calendar(moment) or not 0 < number < 2**63:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ValidationFailed({"cursor": ["Not a cursor of this list"]}) from None
    return moment, number
