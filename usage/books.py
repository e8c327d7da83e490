"""What the rows say of each counter, summed up for a page of organisations.

One query for each table and page. Read in one snapshot, so that a count in flight
is no difference.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import OperationalError, connection
from psycopg.errors import QueryCanceled

from config.contract.snapshot import bound_statements, one_snapshot
from quotas import snapshots, thresholds
from quotas.models import Adjustment, Entitlement, Forgiveness, UsageCounter

#: Organisation, metric and start of the period.
Key = tuple[str, str, datetime]

_EVENTS = """
SELECT org_id, metric, period_start, sum(value), count(*), max(counter_version),
       min(counted_at), max(counted_at), min(period_key), max(period_key)
  FROM usage_usageevent WHERE org_id = ANY (%(orgs)s) GROUP BY 1, 2, 3
"""
# By the index of time, which leads with the metric: old periods are not read.
_RECENT_EVENTS = """
SELECT org_id, metric, period_start, sum(value), count(*), max(counter_version),
       min(counted_at), max(counted_at), min(period_key), max(period_key)
  FROM usage_usageevent
 WHERE metric = ANY (%(metrics)s) AND org_id = ANY (%(orgs)s) AND counted_at >= %(since)s
 GROUP BY 1, 2, 3
"""
# Events of a counter that lie outside its period and count. One that was voided may: a
# restart ends the period right behind the last use that still counts.
_ASTRAY = """
SELECT count(*) FROM usage_usageevent e
 WHERE e.metric = %(metric)s AND e.org_id = %(org)s AND e.period_start = %(start)s
   AND (e.counted_at >= %(first)s AND e.counted_at < %(start)s
        OR e.counted_at >= %(end)s AND e.counted_at <= %(last)s)
   AND NOT EXISTS (SELECT FROM usage_usagevoid v
                    WHERE v.org_id = e.org_id AND v.request_id = e.request_id)
"""
# A void says what its event says; `astray` are those that do not.
_VOIDS = """
SELECT v.org_id, v.metric, v.period_start, sum(v.value), max(v.counter_version),
       count(*) FILTER (WHERE (e.metric, e.value, e.period_start)
                           IS DISTINCT FROM (v.metric, v.value, v.period_start))
  FROM usage_usagevoid v
  LEFT JOIN usage_usageevent e ON (e.org_id, e.request_id) = (v.org_id, v.request_id)
 WHERE v.org_id = ANY (%(orgs)s) GROUP BY 1, 2, 3
"""
# The next organisations of which there is any row, each found by one step into an index.
_ORGANISATIONS = """
WITH RECURSIVE step (org_id, n) AS (
    SELECT ({least}), 1
    UNION ALL
    SELECT ({least_after}), n + 1 FROM step WHERE step.org_id IS NOT NULL AND n < %(page)s)
SELECT org_id FROM step WHERE org_id IS NOT NULL
"""
_TABLES = ("quotas_entitlement", "quotas_usagecounter", "usage_usageevent")


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one counter."""

    units: int = 0
    events: int = 0
    version: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    keys: frozenset[str] = frozenset()
    #: How many count although they lie outside the counter's period.
    astray: int = 0


@dataclass(frozen=True, slots=True)
class Voids:
    """The voids of one counter."""

    units: int = 0
    version: int = 0
    astray: int = 0


@dataclass(slots=True)
class Books:
    """The counters of some organisations and what their rows say, out of one snapshot."""

    counters: list[UsageCounter]
    entitlements: dict[str, Entitlement]
    epoch: int
    #: Where the next threshold of each counter that is not closed lies.
    armed: dict[int, int | None] = field(default_factory=dict)
    events: dict[Key, Events] = field(default_factory=dict)
    voids: dict[Key, Voids] = field(default_factory=dict)
    forgiven: dict[Key, int] = field(default_factory=dict)
    adjustments: dict[Key, list[Adjustment]] = field(default_factory=dict)

    def keys(self) -> set[Key]:
        """Return every counter that a row speaks of."""
        return {*self.events, *self.voids, *self.forgiven, *self.adjustments}


def key_of(row: Any) -> Key:
    """Return which counter a row is of."""
    return (row.org_id, row.metric, row.period_start)


def organisations_after(last: str, *, page: int) -> list[str]:
    """Return the next organisations, in order, that any row of the books is of."""

    def least(after: str) -> str:
        found = ", ".join(
            f"(SELECT min(org_id) FROM {table} WHERE org_id > {after})"  # noqa: S608 - constants
            for table in _TABLES
        )
        return f"SELECT least({found})"

    statement = _ORGANISATIONS.format(least=least("%(last)s"), least_after=least("step.org_id"))
    with connection.cursor() as cursor:
        cursor.execute(statement, {"last": last, "page": page})
        return [row[0] for row in cursor.fetchall()]


class TookTooLong(Exception):
    """The books are too large to be read in the time there was."""


def read(org_ids: Collection[str], *, closed_too: bool, seconds: float | None = None) -> Books:
    """Read the books of some organisations, of all periods or of those that are not closed.

    `seconds` bound how long the snapshot is open: raises TookTooLong. Without them a big
    organisation's ledger takes as long as it takes.
    """
    until = None if seconds is None else time.monotonic() + seconds
    try:
        with one_snapshot(seconds=seconds):
            return _read(org_ids, closed_too=closed_too, until=until)
    except OperationalError as error:
        if until is not None and isinstance(error.__cause__, QueryCanceled):
            raise TookTooLong from error
        raise


def _read(org_ids: Collection[str], *, closed_too: bool, until: float | None) -> Books:
    rows = UsageCounter.objects.filter(org_id__in=org_ids)
    if not closed_too:
        rows = rows.filter(closed_at=None)
    books = Books(
        counters=list(rows.order_by("org_id", "metric", "period_start")),
        entitlements={one.org_id: one for one in Entitlement.objects.filter(org_id__in=org_ids)},
        epoch=snapshots.installation_epoch(),
    )
    books.armed = thresholds.expected([one for one in books.counters if one.closed_at is None])
    asked: dict[str, Any] = {"orgs": list(org_ids)}
    statement = _EVENTS
    if not closed_too:
        statement = _RECENT_EVENTS
        asked["metrics"] = sorted({one.metric for one in books.counters})
        asked["since"] = min((one.period_start for one in books.counters), default=None)
    _sum_up(books, statement, asked, until=until)
    for counter in books.counters:
        _look_outside(books, counter, until=until)
    return books


def _spend(until: float | None) -> None:
    """Give the next statement what is left of the time. Raises TookTooLong where nothing is."""
    if until is None:
        return
    left = until - time.monotonic()
    if left <= 0:
        raise TookTooLong
    bound_statements(left)


def _look_outside(books: Books, counter: UsageCounter, *, until: float | None) -> None:
    """Count the events of a counter that should lie in its period and do not."""
    events = books.events.get(key_of(counter))
    if events is None or events.first_at is None or events.last_at is None:
        return
    if counter.period_start <= events.first_at and events.last_at < counter.period_end:
        return
    _spend(until)
    with connection.cursor() as cursor:
        cursor.execute(
            _ASTRAY,
            {
                "org": counter.org_id,
                "metric": counter.metric,
                "start": counter.period_start,
                "end": counter.period_end,
                "first": events.first_at,
                "last": events.last_at,
            },
        )
        [(astray,)] = cursor.fetchall()
    books.events[key_of(counter)] = replace(events, astray=astray)


def _sum_up(books: Books, events: str, asked: dict[str, Any], *, until: float | None) -> None:
    with connection.cursor() as cursor:
        _spend(until)
        cursor.execute(events, asked)
        for org, metric, start, units, many, version, first, last, *keys in cursor.fetchall():
            books.events[(org, metric, start)] = Events(
                int(units), many, version, first, last, frozenset(keys)
            )
        _spend(until)
        cursor.execute(_VOIDS, asked)
        for org, metric, start, units, version, astray in cursor.fetchall():
            books.voids[(org, metric, start)] = Voids(int(units), version, astray)
    for row in Forgiveness.objects.filter(org_id__in=asked["orgs"]):
        books.forgiven[key_of(row)] = books.forgiven.get(key_of(row), 0) + row.units
    for adjustment in Adjustment.objects.filter(org_id__in=asked["orgs"]):
        books.adjustments.setdefault(key_of(adjustment), []).append(adjustment)
