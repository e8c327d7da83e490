"""GET /api/v1/usage and /api/v1/usage/series."""

from datetime import timedelta
from urllib.parse import quote

import pytest

from config.contract import clock
from tests.support.cast import Org, data
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


def test_events_come_newest_first_page_by_page(org: Org, stranger: Org) -> None:
    now = clock.now()
    for n in range(5):
        at = (now - timedelta(minutes=10 - n)).isoformat()
        org.use(n + 1, request_id=f"r{n}", occurredAt=at)
    stranger.use(9, request_id="r9")

    first = data(org.get("/api/v1/usage?limit=3"))
    rest = data(org.get(f"/api/v1/usage?limit=3&cursor={first['nextCursor']}"))

    seen = [one["request_id"] for one in first["events"] + rest["events"]]
    assert seen == ["r4", "r3", "r2", "r1", "r0"]
    assert rest["nextCursor"] is None


def test_events_are_found_by_request_id_metric_and_time(org: Org) -> None:
    org.use(1, request_id="calls")
    org.use(7, request_id="compute", metric="compute_ms")
    start = quote((clock.now() - timedelta(minutes=1)).isoformat())

    assert [one["value"] for one in data(org.get("/api/v1/usage?requestId=compute"))["events"]] == [
        7
    ]
    assert len(data(org.get("/api/v1/usage?metric=api_call"))["events"]) == 1
    assert len(data(org.get(f"/api/v1/usage?from={start}"))["events"]) == 2
    assert data(org.get(f"/api/v1/usage?to={start}"))["events"] == []


def test_a_voided_event_says_so_and_leaves_the_series(org: Org) -> None:
    org.use(3, request_id="r1")
    org.use(4, request_id="r2")
    void_event(org_id=org.id, request_id="r1", reason="twice", voided_by="test", now=clock.now())

    [event] = data(org.get("/api/v1/usage?requestId=r1"))["events"]
    points = data(org.get("/api/v1/usage/series?metric=api_call&by=hour"))["points"]

    assert event["voidReason"] == "twice"
    assert sum(point["used"] for point in points) == 4


def test_the_series_has_a_point_for_every_day(org: Org) -> None:
    org.use(5)
    end = clock.now() + timedelta(seconds=1)
    start = quote((end - timedelta(days=9)).isoformat())
    query = f"metric=api_call&from={start}&to={quote(end.isoformat())}"

    points = data(org.get(f"/api/v1/usage/series?{query}"))["points"]

    assert len(points) == 10
    assert [point["used"] for point in points][-1] == 5
    assert points[0]["at"].endswith("T00:00:00Z")


@pytest.mark.parametrize(
    "query",
    [
        "cursor=nonsense",
        "limit=0",
        "limit=1001",
        "limit=x",
        "metric=unknown",
        "from=yesterday",
        "what=ever",
        "limit=1&limit=2",
        "cursor=%00",
    ],
)
def test_a_bad_query_is_400(org: Org, query: str) -> None:
    assert org.get(f"/api/v1/usage?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "",
        "metric=api_call&by=minute",
        "metric=api_call&from=2020-01-01T00:00:00Z&by=hour",
        "metric=api_call&from=2999-01-01T00:00:00Z",
    ],
)
def test_a_bad_series_query_is_400(org: Org, query: str) -> None:
    assert org.get(f"/api/v1/usage/series?{query}").status_code == 400
