"""Two calls with one request id at the same moment, in every order that matters."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from config.contract.clients import clients
from config.contract.errors import ApiError
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.races.ledger import copy_equals_truth, counter_of, sum_of_events
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

#: One instant for both twins: another one would be another content.
NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)


def record(org: Org, *events: NewUsageEvent) -> list[Recorded]:
    return ledger.record(org_id=org.id, events=events, now=NOW)


def event(request_id: str, *, metric: str = "api_call", value: int = 1) -> NewUsageEvent:
    return NewUsageEvent(metric, value, NOW, request_id)


def count_by_hand(held: psycopg.Connection[Any], org: Org, *events: NewUsageEvent) -> None:
    """Record in a transaction that stays open, by the statement the product uses."""
    held.execute(ledger._RECORD, ledger._arguments(org.id, events, NOW))


def wait_for_nobody(held: psycopg.Connection[Any]) -> None:
    """Let the transaction fail where it would have to wait: a deadlock is retried, and not seen."""
    held.execute("SET LOCAL lock_timeout = '50ms'")


def test_of_two_uses_that_want_the_last_unit_one_gets_it(transactional_db: None) -> None:
    org = make_org(now=NOW, included=10)
    record(org, event("before", value=9))
    with by_hand() as held:
        count_by_hand(held, org, event("one"))

        other = in_thread(lambda: record(org, event("other")))
        wait_until_blocked()
        held.commit()

    [answered] = other.result(5)
    assert isinstance(answered.error, ApiError)
    assert answered.error.code == "RATE_LIMITED"
    assert counter_of(org.id).used == sum_of_events(counter_of(org.id)) == 10


def test_the_twin_that_spent_the_last_unit_makes_a_replay_and_not_a_denial(
    transactional_db: None,
) -> None:
    org = make_org(now=NOW, included=10)
    record(org, event("before", value=9))
    with by_hand() as held:
        count_by_hand(held, org, event("last"))

        late_twin = in_thread(lambda: record(org, event("last")))
        wait_until_blocked()
        held.commit()

    [answered] = late_twin.result(5)
    assert answered.status == "duplicate"
    assert answered.numbers is not None
    assert (answered.numbers.used, answered.numbers.remaining) == (10, 0)
    assert counter_of(org.id).used == 10


def test_a_twin_that_is_rolled_back_leaves_the_unit_to_the_other(transactional_db: None) -> None:
    org = make_org(now=NOW, included=10)
    record(org, event("before", value=9))
    with by_hand() as held:
        count_by_hand(held, org, event("last"))

        late_twin = in_thread(lambda: record(org, event("last")))
        wait_until_blocked()
        held.rollback()

    [answered] = late_twin.result(5)
    assert answered.status == "accepted"
    assert counter_of(org.id).used == sum_of_events(counter_of(org.id)) == 10


def test_a_twin_on_another_counter_that_commits_first_makes_a_conflict(
    transactional_db: None,
) -> None:
    org = make_org(now=NOW)
    with by_hand() as held:
        count_by_hand(held, org, event("same", metric="compute_ms"))

        # Locks its own counter at once, and waits only at the key.
        other = in_thread(lambda: record(org, event("same"), event("mine")))
        wait_until_blocked()
        held.commit()

    same, mine = other.result(5)
    assert isinstance(same.error, ApiError)
    assert (same.error.code, same.error.details) == ("REQUEST_ID_CONFLICT", {"field": "metric"})
    assert mine.status == "accepted"
    assert UsageEvent.objects.filter(org_id=org.id, request_id="same").count() == 1
    for metric in ("api_call", "compute_ms"):
        assert counter_of(org.id, metric).used == sum_of_events(counter_of(org.id, metric)) == 1


def test_a_twin_on_another_counter_that_is_rolled_back_takes_nothing(
    transactional_db: None,
) -> None:
    org = make_org(now=NOW)
    with by_hand() as held:
        count_by_hand(held, org, event("same", metric="compute_ms"))

        other = in_thread(lambda: record(org, event("same")))
        wait_until_blocked()
        held.rollback()

    [answered] = other.result(5)
    assert answered.status == "accepted"
    assert counter_of(org.id, "compute_ms").used == 0


def test_a_pure_repeat_does_not_wait_for_the_counter(transactional_db: None) -> None:
    org = make_org(now=NOW)
    first = record(org, event("r1"))
    with by_hand() as held:
        count_by_hand(held, org, event("r2"))

        again = in_thread(lambda: record(org, event("r1"))).result(5)
        held.rollback()

    assert again[0].numbers == first[0].numbers
    assert again[0].status == "duplicate"


def test_keys_are_taken_in_one_order_whatever_order_they_came_in(transactional_db: None) -> None:
    org = make_org(now=NOW)
    with by_hand() as held:
        count_by_hand(held, org, event("a", metric="compute_ms"))
        other = in_thread(lambda: record(org, event("b"), event("a")))
        wait_until_blocked()

        # Were "b" taken already by the one who waits for "a", this would be a deadlock.
        wait_for_nobody(held)
        count_by_hand(held, org, event("b", metric="compute_ms"))
        held.commit()

    assert [one.status for one in other.result(5)] == ["rejected", "rejected"]
    assert counter_of(org.id, "compute_ms").used == UsageEvent.objects.count() == 2


def test_counters_are_locked_in_one_order_whatever_order_they_came_in(
    transactional_db: None,
) -> None:
    org = make_org(now=NOW)
    with by_hand() as held:
        count_by_hand(held, org, event("a"))
        events = [event("b", metric="compute_ms"), event("c")]
        other = in_thread(lambda: record(org, *events))
        wait_until_blocked()

        # Had the other locked compute_ms before it waits for api_call: a deadlock.
        wait_for_nobody(held)
        count_by_hand(held, org, event("d", metric="compute_ms"))
        held.commit()

    assert [one.status for one in other.result(5)] == ["accepted", "accepted"]
    assert counter_of(org.id).used == counter_of(org.id, "compute_ms").used == 2


def test_a_repeat_publishes_what_the_first_writer_died_before_publishing(
    transactional_db: None,
) -> None:
    org = make_org(now=NOW)
    record(org, event("before"))
    with by_hand() as held:
        count_by_hand(held, org, event("r", value=5))
        held.commit()  # and dies before it publishes

    [again] = record(org, event("r", value=5))

    assert again.status == "duplicate"
    assert copy_equals_truth(clients.copy, counter_of(org.id))
