"""Taking an event back: the event stays, its units no longer count."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from config.contract.clients import clients
from config.contract.errors import NotFound
from quotas import corrections
from quotas.corrections import PeriodClosed
from quotas.models import UsageCounter
from tests.races.interleave import all_at_once, commits_held, in_thread, wait_until_blocked
from tests.races.ledger import copy_equals_truth, sum_of_events
from tests.support.cast import Org, make_org
from usage import ledger
from usage.errors import EventSettled
from usage.ledger import NewUsageEvent, Recorded
from usage.models import UsageEvent, UsageVoid
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def metered_org(transactional_db: None) -> Org:
    return make_org(now=NOW, included=10)


def record(org: Org, request_id: str, value: int = 1, *, now: datetime = NOW) -> Recorded:
    event = NewUsageEvent("api_call", value, now, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    return outcome


def void(org: Org, request_id: str, *, now: datetime = NOW) -> UsageVoid:
    return void_event(
        org_id=org.id, request_id=request_id, reason="twice", voided_by="test", now=now
    )


def counter(org: Org) -> UsageCounter:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key="2026-03")


def test_the_units_come_back_and_the_event_stays(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    record(metered_org, "b", 6)

    taken = void(metered_org, "b")

    assert (taken.used_after, taken.remaining_after) == (4, 6)
    assert UsageEvent.objects.count() == 2
    assert counter(metered_org).used == sum_of_events(counter(metered_org)) == 4
    assert copy_equals_truth(clients.copy, counter(metered_org))
    assert record(metered_org, "c", 6).status == "accepted"


def test_voiding_again_returns_the_first_answer(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    first = void(metered_org, "a")
    record(metered_org, "b", 3)

    again = void(metered_org, "a")

    assert (again.pk, again.used_after) == (first.pk, 0)
    assert counter(metered_org).used == 3


def test_many_voids_of_one_event_take_it_back_once(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    record(metered_org, "b", 1)

    voids = all_at_once([partial(void, metered_org, "a")] * 4)

    assert len({one.pk for one in voids}) == 1
    assert counter(metered_org).used == sum_of_events(counter(metered_org)) == 1


def test_a_void_that_waited_for_another_of_the_same_event_finds_it(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    with commits_held("usage_usagevoid") as release:
        first = in_thread(partial(void, metered_org, "a"))
        wait_until_blocked()
        second = in_thread(partial(void, metered_org, "a"))
        wait_until_blocked(2)

        release()

        assert first.result(5).pk == second.result(5).pk
    assert counter(metered_org).used == sum_of_events(counter(metered_org)) == 0


def test_voids_and_uses_at_once_leave_the_counter_the_sum_of_its_rows(metered_org: Org) -> None:
    for n in range(5):
        record(metered_org, f"a-{n}", 2)

    all_at_once(
        [partial(void, metered_org, f"a-{n}") for n in range(3)]
        + [partial(record, metered_org, f"b-{n}") for n in range(3)]
    )

    assert counter(metered_org).used == sum_of_events(counter(metered_org)) >= 4


def test_an_unknown_event_is_not_found(metered_org: Org, stranger: Org) -> None:
    record(metered_org, "a")

    with pytest.raises(NotFound):
        void(metered_org, "b")
    with pytest.raises(NotFound):
        void(stranger, "a")


def test_an_event_that_a_reset_has_forgiven_is_settled(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    corrections.forgive(
        org_id=metered_org.id, metric="api_call", reason="sorry", who="test", now=NOW
    )

    with pytest.raises(EventSettled):
        void(metered_org, "a")

    assert counter(metered_org).used == 0
    assert not UsageVoid.objects.exists()


def test_an_event_counted_after_a_reset_can_be_taken_back(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    corrections.forgive(
        org_id=metered_org.id, metric="api_call", reason="sorry", who="test", now=NOW
    )
    record(metered_org, "b", 3)

    assert void(metered_org, "b").used_after == 0
    assert counter(metered_org).counted == 4


def test_a_closed_period_takes_no_voids(metered_org: Org) -> None:
    record(metered_org, "a", 4)

    with pytest.raises(PeriodClosed):
        void(metered_org, "a", now=APRIL + timedelta(days=30))

    assert counter(metered_org).used == 4


def test_a_late_void_leaves_the_new_periods_copy_alone(metered_org: Org) -> None:
    record(metered_org, "a", 4)
    record(metered_org, "b", 5, now=APRIL)
    april = UsageCounter.objects.get(metric="api_call", period_key="2026-04")

    void(metered_org, "a", now=APRIL + timedelta(minutes=1))

    assert counter(metered_org).used == 0
    assert copy_equals_truth(clients.copy, april)
