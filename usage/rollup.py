"""Use by day, for charts: computed from the ledger, a whole day at a time.

Adding up only what is new since the last run would miss an event whose
transaction began before that run and committed after it, and every void of an
older event. So a day is always computed anew, as a whole, and what differs is
written: running it twice, late, or twice at once changes nothing.

Which days need it is found by looking back over the latest run by MARGIN, far
longer than a recording transaction can last; each night all recent days are
computed whatever was found.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from usage.models import DailyTotal

#: How far behind the latest run events are looked for: no transaction is open that long.
MARGIN = timedelta(hours=1)
#: Days that the nightly run computes, found touched or not: a month, and the late grace.
RECENT_DAYS = 35
_LOCK = 7_301  # the class of our advisory locks; the day is the object

_ROLL = """
WITH fresh AS (
    SELECT e.org_id, e.metric,
           sum(e.value) FILTER (WHERE v.id IS NULL) AS used,
           count(*) FILTER (WHERE v.id IS NULL) AS events,
           coalesce(sum(v.value), 0) AS voided
      FROM usage_usageevent e
      LEFT JOIN usage_usagevoid v ON v.org_id = e.org_id AND v.request_id = e.request_id
     WHERE e.counted_at >= %(start)s AND e.counted_at < %(end)s
     GROUP BY e.org_id, e.metric
    HAVING count(*) > count(v.id)
), gone AS (
    DELETE FROM usage_dailyusage d
     WHERE d.day = %(day)s
       AND NOT EXISTS (SELECT FROM fresh f WHERE f.org_id = d.org_id AND f.metric = d.metric)
    RETURNING 1
), written AS (
    INSERT INTO usage_dailyusage AS d (org_id, metric, day, used, events, voided)
    SELECT org_id, metric, %(day)s, used, events, voided FROM fresh
        ON CONFLICT (org_id, metric, day)
        DO UPDATE SET used = excluded.used, events = excluded.events, voided = excluded.voided
        WHERE (d.used, d.events, d.voided)
              IS DISTINCT FROM (excluded.used, excluded.events, excluded.voided)
    RETURNING 1
)
SELECT (SELECT coalesce(sum(events), 0) FROM fresh),
       (SELECT count(*) FROM gone) + (SELECT count(*) FROM written)
"""
# A metric that nobody used has a row of zeros: it says that the day was looked at.
# Denials are forgotten after a time: what was counted of such a day stands.
_TOTAL = """
INSERT INTO usage_dailytotal AS t (metric, day, used, events, organisations, denied, computed_at)
SELECT m.metric, %(day)s, coalesce(sum(d.used), 0), coalesce(sum(d.events), 0), count(d.org_id),
       (SELECT coalesce(sum(q.count), 0) FROM quotas_denial q
         WHERE q.minute >= %(start)s AND q.minute < %(end)s AND q.metric = m.metric),
       %(now)s
  FROM (SELECT code AS metric FROM quotas_metric
        UNION SELECT metric FROM usage_dailytotal WHERE day = %(day)s
        UNION SELECT metric FROM usage_dailyusage WHERE day = %(day)s) m
  LEFT JOIN usage_dailyusage d ON d.day = %(day)s AND d.metric = m.metric
 GROUP BY m.metric
    ON CONFLICT (day, metric) DO UPDATE
   SET used = excluded.used, events = excluded.events,
       organisations = excluded.organisations, computed_at = excluded.computed_at,
       denied = CASE WHEN %(denials_kept)s THEN excluded.denied ELSE t.denied END
"""
_TOUCHED = """
SELECT (e.counted_at AT TIME ZONE 'UTC')::date
  FROM usage_usageevent e WHERE e.recorded_at >= %(since)s
UNION
SELECT (e.counted_at AT TIME ZONE 'UTC')::date
  FROM usage_usagevoid v
  JOIN usage_usageevent e ON e.org_id = v.org_id AND e.request_id = v.request_id
 WHERE v.voided_at >= %(since)s
"""


@dataclass(frozen=True, slots=True)
class RolledDay:
    """One day as it was computed: its events, and how many rows were not so before."""

    day: date
    events: int
    changed: int
    skipped: bool = False


def roll_days(days: Collection[date], *, now: datetime) -> Iterator[RolledDay]:
    """Compute each of `days` (UTC) anew, in a transaction each.

    A day that another run is at is skipped: that one, or the next, sees it all.
    """
    for day in sorted(days):
        yield _roll(day, now=now)


def days_due(*, now: datetime) -> set[date]:
    """Return today, yesterday, and each day that an event or a void has touched of late.

    That is since the latest run, less MARGIN; before the first run, all days there are.
    """
    latest = DailyTotal.objects.aggregate(at=Max("computed_at"))["at"]
    if latest is None:
        return days_since_the_first(now=now)
    # A clock that was set back must not make the future the past.
    touched = _touched(since=min(latest, now) - MARGIN)
    return touched | {now.date(), now.date() - timedelta(days=1)}


def recent_days(*, now: datetime) -> set[date]:
    """Return the days that are computed each night."""
    return days_between(now.date() - timedelta(days=RECENT_DAYS), now.date()) | days_due(now=now)


def days_since_the_first(*, now: datetime) -> set[date]:
    """Return every day from the ledger's first event to today."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(counted_at) FROM usage_usageevent")
        [first] = cursor.fetchone() or [None]
    return days_between(first.astimezone(UTC).date() if first else now.date(), now.date())


def days_between(first: date, last: date) -> set[date]:
    """Return the days from `first` to `last`, both included."""
    return {first + timedelta(days=n) for n in range((last - first).days + 1)}


def _touched(*, since: datetime) -> set[date]:
    with connection.cursor() as cursor:
        cursor.execute(_TOUCHED, {"since": since})
        return {row[0] for row in cursor.fetchall()}


def _roll(day: date, *, now: datetime) -> RolledDay:
    start = datetime.combine(day, time(), UTC)
    named: dict[str, date | datetime | bool] = {
        "day": day,
        "start": start,
        "end": start + timedelta(days=1),
        "now": now,
        "denials_kept": start >= now - timedelta(days=settings.DENIAL_DAYS),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [_LOCK, day.toordinal()])
        if cursor.fetchone() != (True,):
            return RolledDay(day, 0, 0, skipped=True)
        # A statement of its own, and so a snapshot taken under the lock.
        cursor.execute(_ROLL, named)
        events, changed = cursor.fetchone() or (0, 0)
        cursor.execute(_TOTAL, named)
    return RolledDay(day, int(events), int(changed))
