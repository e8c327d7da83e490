"""Writing denials down, many at a time, and forgetting them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from config.contract.hotpool import hot_connection


class DenialKey(NamedTuple):
    """What one row of denials is about."""

    org_id: str
    metric: str
    minute: datetime
    code: str
    counter_version: int
    period_start: datetime | None


class DeniedUse(NamedTuple):
    """One denied use, by its ids."""

    at: datetime
    value: int
    door: str
    decided_by: str
    request_id: str
    correlation_id: str
    use_id: str


@dataclass(slots=True)
class Tally:
    """Denials of one key that are not written down yet. `uses` are the first of them."""

    period_key: str
    period_end: datetime | None
    used: int | None
    included: int | None
    first: DeniedUse
    last: DeniedUse
    count: int = 1
    uses: list[DeniedUse] = field(default_factory=list)


_UPSERT = """
INSERT INTO quotas_denial AS d (
    org_id, metric, minute, code, counter_version, period_start,
    period_end, period_key, used, included, count,
    first_at, first_request_id, first_correlation_id,
    last_at, last_request_id, last_correlation_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (org_id, metric, minute, code, counter_version, period_start) DO UPDATE SET
    count = d.count + excluded.count,
    (first_at, first_request_id, first_correlation_id) = (
        SELECT f.* FROM (VALUES
            (d.first_at, d.first_request_id, d.first_correlation_id),
            (excluded.first_at, excluded.first_request_id, excluded.first_correlation_id))
            AS f(at, request_id, correlation_id) ORDER BY f.at LIMIT 1),
    (last_at, last_request_id, last_correlation_id, used, included) = (
        SELECT l.* FROM (VALUES
            (d.last_at, d.last_request_id, d.last_correlation_id, d.used, d.included),
            (excluded.last_at, excluded.last_request_id, excluded.last_correlation_id,
             excluded.used, excluded.included))
            AS l(at, request_id, correlation_id, used, included) ORDER BY l.at DESC LIMIT 1)
RETURNING d.id, d.count
"""
_KEEP = """
INSERT INTO quotas_deniedrequest (
    denial_id, at, value, door, decided_by, request_id, correlation_id, use_id)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::text[], %s::text[],
                     %s::text[], %s::text[], %s::text[])
"""
# The requests first, and of few rows at a time: one row may have a thousand.
_FORGET = """
WITH old AS MATERIALIZED (
    SELECT id FROM quotas_denial WHERE minute < %(before)s ORDER BY minute LIMIT %(many)s
), requests AS (
    DELETE FROM quotas_deniedrequest r USING old WHERE r.denial_id = old.id
)
SELECT id FROM old
"""
_AT_ONCE = 100


def write(tallies: Mapping[DenialKey, Tally]) -> None:
    """Add what was collected to the rows, in one transaction of the hot pool.

    Raises what `hot_connection` does. Where the connection was lost nobody knows
    whether it was written; writing it again may count a denial twice, and that is
    better than losing one.
    """
    with hot_connection() as lent, lent.transaction():
        kept: list[tuple[int, DeniedUse]] = []
        # In one order, so that two processes wait for each other and never in a circle.
        for key, tally in sorted(tallies.items(), key=lambda item: item[0][:5]):
            first, last = tally.first, tally.last
            row = lent.execute(
                _UPSERT,
                (
                    *key,
                    *(tally.period_end, tally.period_key, tally.used, tally.included, tally.count),
                    *(first.at, first.request_id, first.correlation_id),
                    *(last.at, last.request_id, last.correlation_id),
                ),
            ).fetchone()
            assert row is not None  # noqa: S101 - an upsert returns its row
            pk, count = row
            room = max(0, settings.DENIAL_REQUESTS - (count - tally.count))
            kept += [(pk, use) for use in tally.uses[:room]]
        if kept:
            columns = zip(*((pk, *use) for pk, use in kept), strict=True)
            lent.execute(_KEEP, [list(column) for column in columns])


def forget(*, now: datetime) -> int:
    """Delete denials that are older than `DENIAL_DAYS`; returns how many rows of denials."""
    before = now - timedelta(days=settings.DENIAL_DAYS)
    forgotten = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, {"before": before, "many": _AT_ONCE})
            keys = [row[0] for row in cursor.fetchall()]
            if not keys:
                return forgotten
            cursor.execute("DELETE FROM quotas_denial WHERE id = ANY (%s)", [keys])
            forgotten += len(keys)
