"""A page of events is read for what it shows, not for what the organisation ever used."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.contract import clock
from tests.support.cast import Org, data
from tests.support.database import rewrite
from usage.queries import EventPage, list_events

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS, PAGE = 6_000, 10
NOW = datetime(2026, 3, 20, 9, tzinfo=UTC)
#: Every hundredth of compute_ms; all of an hour's at one instant where `same` is set.
_MANY = """
INSERT INTO usage_usageevent (org_id, request_id, metric, value, occurred_at, counted_at,
       recorded_at, period_start, period_key, used_after, remaining_after, counter_version)
SELECT %s, 'r' || n, CASE WHEN n %% 100 = 0 THEN 'compute_ms' ELSE 'api_call' END, 1, t, t, t,
       '2026-03-01Z', '2026-03', n, 1, n
  FROM generate_series(1, %s) AS n, LATERAL (SELECT %s - n * %s::interval) AS s (t)
"""


@pytest.fixture(params=["spread", "at one instant"])
def busy(org: Org, request: pytest.FixtureRequest) -> Org:
    apart = timedelta(minutes=1 if request.param == "spread" else 0)
    rewrite(_MANY, org.id, EVENTS, NOW, apart)
    rewrite("VACUUM ANALYZE usage_usageevent")
    return org


def rows_read(captured: CaptureQueriesContext) -> int:
    """Return how many events the queries took out of the ledger, or looked at and dropped."""
    [statement] = [one["sql"] for one in captured if 'FROM "usage_usageevent"' in one["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        [(plans,)] = cursor.fetchall()
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plans[0]["Plan"])
        if node.get("Relation Name") == "usage_usageevent"
    )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def read(org: Org, **choice: Any) -> tuple[EventPage, int]:
    with CaptureQueriesContext(connection) as captured:
        page = list_events(org_id=org.id, limit=PAGE, **choice)
    return page, rows_read(captured)


@pytest.mark.parametrize("metric", [None, "api_call", "compute_ms"])
def test_a_page_reads_as_many_events_as_it_shows_of_each_metric(
    busy: Org, metric: str | None
) -> None:
    first, rows = read(busy, metric=metric)
    middle = cursor_behind(busy, metric)
    _, rows_in_the_middle = read(busy, metric=metric, cursor=middle)

    assert len(first.events) == PAGE
    most = 2 * (PAGE + 1)
    assert (rows <= most, rows_in_the_middle <= most) == (True, True), (rows, rows_in_the_middle)


def cursor_behind(org: Org, metric: str | None) -> str | None:
    """Return where a page goes on behind more than the first half of the events."""
    some = list_events(org_id=org.id, metric=metric, limit=EVENTS * 2 // 3)
    return some.next_cursor or list_events(org_id=org.id, metric=metric, limit=30).next_cursor


def test_the_pages_of_all_metrics_are_each_event_once_newest_first(org: Org) -> None:
    at = clock.now() - timedelta(minutes=1)
    for n in range(23):
        instant = (at + timedelta(seconds=n // 5)).isoformat()
        metric = "compute_ms" if n % 3 else "api_call"
        org.use(1, request_id=f"r{n:02}", metric=metric, occurredAt=instant)
    seen, cursor = [], ""

    while cursor is not None:
        page = data(org.get(f"/api/v1/usage?limit=4{cursor and '&cursor=' + cursor}"))
        seen += [one["request_id"] for one in page["events"]]
        cursor = page["nextCursor"]

    assert seen == [f"r{n:02}" for n in reversed(range(23))]
