"""Recording use: one or many is one function.

A unit of use is counted once, or the caller was told no. The decision and its
writing are one call of `usage_record` (usage/sql), which is one transaction;
what it committed is published to the copy before the caller hears of it.
"""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings

from config.contract import metrics
from config.contract.database_errors import START_AGAIN
from config.contract.errors import ApiError, Unavailable
from config.contract.hotpool import array_of, fetch
from quotas import counters, snapshots
from quotas.denial_book import book
from quotas.denials import Numbers, rate_limit_headers
from quotas.errors import OutsideWindow, PaymentRequired, QuotaExceeded
from quotas.models import Overage
from quotas.periods import Period
from quotas.snapshots import CounterSnapshot
from usage.errors import RequestIdConflict

_RECORD = """
SELECT * FROM usage_record(
    %s, %s, %s, %s, %s, %s::text[], %s::bigint[], %s::timestamptz[], %s::text[], %s::int[])
"""
#: What usage_record raises when a twin on another counter won: nothing was written.
_TWIN_WAS_FIRST = "MG001"
_TRIES = 4


@dataclass(frozen=True, slots=True)
class NewUsageEvent:
    """One use as a client reports it. `value` is 1 to 1,000,000,000 units."""

    metric: str
    value: int
    occurred_at: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one event."""

    status: str  # accepted | duplicate | rejected
    numbers: Numbers | None = None
    error: ApiError | None = None
    #: Of a denial: the numbers that it was decided by, and which they were.
    denied_by: Numbers | None = None
    counter_version: int = 0

    def or_raise(self) -> "Recorded":
        """Return self where the event is counted. Raises the refusal otherwise."""
        if self.error is not None:
            raise self.error
        return self

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the RateLimit headers of a counted event."""
        if self.numbers is None:
            return {}
        return rate_limit_headers(
            self.numbers.metric,
            remaining=self.numbers.remaining,
            limit=self.numbers.limit,
            period=self.numbers.period,
            now=now,
        )


def record(*, org_id: str, events: Sequence[NewUsageEvent], now: datetime) -> list[Recorded]:
    """Count events of one organisation and note what was denied; see `count`."""
    outcomes = count(org_id=org_id, events=events, now=now)
    for event, outcome in zip(events, outcomes, strict=True):
        note_denial(org_id, event, outcome, now)
    return outcomes


def count(*, org_id: str, events: Sequence[NewUsageEvent], now: datetime) -> list[Recorded]:
    """Count events of one organisation, decided greedily in input order.

    Each is counted once, answered from the ledger when it was counted before, or
    refused with RequestIdConflict, OutsideWindow, PaymentRequired or
    QuotaExceeded, writing nothing. Raises Unavailable when the database does not
    answer; a repeat with the same ids is then safe.
    """
    outcomes: list[Recorded | None] = [None] * len(events)
    pending = list(range(len(events)))
    for attempt in range(_TRIES):
        rows = _call(org_id, [events[position] for position in pending], now)
        waiting = [row for row in rows if row.outcome in ("open", "refresh")]
        if not waiting:
            _publish(org_id, rows)
            _tell(rows)
            versions = {
                (row.metric, row.period_start): row.version for row in rows if row.kind == "counter"
            }
            for row in rows:
                if row.kind == "event":
                    version = versions.get((row.metric, row.period_start), 0)
                    outcomes[pending[row.ord - 1]] = _outcome(row, version, now)
            return [outcome for outcome in outcomes if outcome is not None]
        refused = _prepare(org_id, events, pending, waiting, now)
        for position, error in refused.items():
            outcomes[position] = Recorded("rejected", error=error)
        pending = [position for position in pending if position not in refused]
        if not pending:
            return [outcome for outcome in outcomes if outcome is not None]
        if attempt:
            time.sleep(random.uniform(0, 0.02))  # noqa: S311 - jitter, not a secret
    raise Unavailable


@dataclass(slots=True)
class _Row:
    kind: str
    ord: int
    outcome: str | None
    detail: str | None
    metric: str
    period_key: str
    period_start: datetime
    period_end: datetime
    used: int
    remaining: int
    limit: int
    version: int
    overage: str
    access: bool
    valid_until: datetime
    epoch: int


def _arguments(org_id: str, events: Sequence[NewUsageEvent], now: datetime) -> tuple[Any, ...]:
    first: dict[str, int] = {}
    return (
        org_id,
        now,
        settings.EVENT_AHEAD,
        settings.LATE_GRACE_BLOCK,
        settings.LATE_GRACE_ALLOW,
        array_of(event.metric for event in events),
        array_of(str(event.value) for event in events),
        array_of(event.occurred_at.isoformat() for event in events),
        array_of(event.request_id for event in events),
        array_of(str(first.setdefault(one.request_id, n)) for n, one in enumerate(events, start=1)),
    )


def _call(org_id: str, events: Sequence[NewUsageEvent], now: datetime) -> list[_Row]:
    arguments = _arguments(org_id, events, now)
    for _ in range(_TRIES):
        try:
            return [_Row(*row) for row in fetch(_RECORD, arguments)]
        except psycopg.Error as error:
            if error.sqlstate not in {_TWIN_WAS_FIRST, *START_AGAIN}:
                raise
        time.sleep(random.uniform(0, 0.02))  # noqa: S311 - jitter, not a secret
    raise Unavailable


def _prepare(
    org_id: str,
    events: Sequence[NewUsageEvent],
    pending: Sequence[int],
    waiting: Sequence[_Row],
    now: datetime,
) -> dict[int, ApiError]:
    """Open or refresh what the events need; return those that cannot be counted."""
    if any(row.outcome == "refresh" for row in waiting):
        counters.refresh(org_id=org_id, now=now)
    wanted = {
        pending[row.ord - 1]: (row.metric, min(events[pending[row.ord - 1]].occurred_at, now))
        for row in waiting
        if row.outcome == "open"
    }
    if not wanted:
        return {}
    errors = counters.open_periods(org_id=org_id, wanted=set(wanted.values()), now=now)
    return {position: errors[pair] for position, pair in wanted.items() if pair in errors}


def _publish(org_id: str, rows: Sequence[_Row]) -> None:
    snapshots.publish(
        org_id,
        (
            CounterSnapshot(
                epoch=row.epoch,
                metric=row.metric,
                period_key=row.period_key,
                start_us=snapshots.microseconds(row.period_start),
                end_us=snapshots.microseconds(row.period_end),
                version=row.version,
                used=row.used,
                limit=row.limit,
                allows_overage=row.overage == Overage.ALLOW,
                access=row.access,
                valid_until_us=snapshots.microseconds(row.valid_until),
            )
            for row in rows
            if row.kind == "counter"
        ),
    )


def _tell(rows: Sequence[_Row]) -> None:
    for outcome, many in Counter(row.outcome for row in rows if row.kind == "event").items():
        metrics.DECISIONS.labels("usage", outcome).inc(many)


def note_denial(org_id: str, event: NewUsageEvent, outcome: Recorded, now: datetime) -> None:
    """Note an outcome that is a denial, under the ids of the request that calls this."""
    if not isinstance(outcome.error, QuotaExceeded | PaymentRequired):
        return
    book.note(
        org_id=org_id,
        metric=event.metric,
        code=outcome.error.code,
        value=event.value,
        now=now,
        door="usage",
        decided_by="database",
        numbers=outcome.denied_by,
        version=outcome.counter_version,
        use_id=event.request_id,
    )


def _outcome(row: _Row, version: int, now: datetime) -> Recorded:
    match row.outcome:
        case "accepted" | "duplicate":
            return Recorded(row.outcome, numbers=_numbers(row))
        case "denied":
            numbers = _numbers(row)
            headers = rate_limit_headers(
                numbers.metric,
                remaining=numbers.remaining,
                limit=numbers.limit,
                period=numbers.period,
                now=now,
            )
            error: ApiError = QuotaExceeded(numbers, rate_limit_headers=headers)
            return Recorded("rejected", None, error, numbers, version)
        case "no_access":
            return Recorded("rejected", None, PaymentRequired(), _numbers(row), version)
        case "conflict":
            return Recorded("rejected", error=RequestIdConflict(field=row.detail))
        case "voided":
            return Recorded("rejected", error=RequestIdConflict(reason="voided"))
        case _:
            return Recorded("rejected", error=OutsideWindow())


def _numbers(row: _Row) -> Numbers:
    return Numbers(
        metric=row.metric,
        period_key=row.period_key,
        used=row.used,
        limit=row.limit,
        remaining=row.remaining,
        period=Period(row.period_key, row.period_start, row.period_end),
    )
