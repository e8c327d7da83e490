"""An organisation's use by day: kept days where they are whole, the ledger for the rest."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.cast import Org, make_org
from usage import ledger
from usage.daily import use_by_day
from usage.ledger import NewUsageEvent
from usage.models import DailyUsage
from usage.rollup import roll_days
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 20, 9, tzinfo=UTC)
FIRST, TODAY = date(2026, 3, 1), NOW.date()


@pytest.fixture
def metered_org(transactional_db: None) -> Org:
    return make_org(now=NOW - timedelta(days=19), included=1_000_000)


def use(org: Org, value: int, *, days_ago: int = 0, metric: str = "api_call") -> str:
    at = NOW - timedelta(days=days_ago)
    event = NewUsageEvent(metric, value, at, f"{metric}-{value}-{days_ago}")
    [outcome] = ledger.record(org_id=org.id, events=[event], now=NOW)
    assert outcome.status == "accepted", outcome
    return event.request_id


def days_of(org: Org, *metrics: str) -> dict[str, dict[int, int]]:
    found = use_by_day(org_id=org.id, metrics=metrics or ("api_call",), first=FIRST, last=TODAY)
    return {metric: {day.day: used for day, used in days.items()} for metric, days in found.items()}


def rolled(*days: int, now: datetime = NOW) -> None:
    list(roll_days([date(2026, 3, day) for day in days], now=now))


def test_days_are_read_from_the_ledger_before_anything_was_computed(metered_org: Org) -> None:
    use(metered_org, 5, days_ago=3)
    use(metered_org, 7)
    use(metered_org, 11, metric="compute_ms")
    use(make_org(now=NOW - timedelta(days=19)), 1000)

    assert days_of(metered_org, "api_call", "compute_ms") == {
        "api_call": {17: 5, 20: 7},
        "compute_ms": {20: 11},
    }


def test_days_that_were_computed_after_their_end_are_read_as_they_are_kept(
    metered_org: Org,
) -> None:
    use(metered_org, 5, days_ago=3)
    use(metered_org, 7)
    rolled(*range(1, 21))
    # So that it shows where a day was read.
    DailyUsage.objects.update(used=1000)

    assert days_of(metered_org)["api_call"] == {17: 1000, 20: 7}


def test_from_the_first_day_on_that_was_not_computed_the_ledger_is_read(metered_org: Org) -> None:
    for ago in (5, 3, 1):
        use(metered_org, 5, days_ago=ago)
    rolled(*range(1, 17), 18, 19, 20)
    rolled(15, now=datetime(2026, 3, 15, 12, tzinfo=UTC))
    DailyUsage.objects.update(used=1000)

    # The 15th was last computed at its noon.
    assert days_of(metered_org)["api_call"] == {15: 5, 17: 5, 19: 5}


def test_what_was_voided_is_no_use(metered_org: Org) -> None:
    use(metered_org, 5)
    void_event(
        org_id=metered_org.id, request_id=use(metered_org, 9), reason="x", voided_by="t", now=NOW
    )

    assert days_of(metered_org)["api_call"] == {20: 5}


def test_the_number_of_queries_is_the_same_however_much_was_used(metered_org: Org) -> None:
    def queries(*metrics: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            days_of(metered_org, *metrics)
        return len(captured)

    few = queries("api_call")
    for ago in range(10):
        use(metered_org, 5, days_ago=ago)
    rolled(*range(1, 15))

    assert queries("api_call", "compute_ms") == few == 3
