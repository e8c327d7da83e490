"""Uses that wait for each other are counted by one call, each as if it were alone."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
import structlog
from django.db import connection

from config.contract.errors import ApiError, Unavailable
from quotas.denial_book import book
from quotas.denial_models import DeniedRequest
from quotas.errors import QuotaExceeded
from quotas.models import UsageCounter
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.races.ledger import sum_of_events
from tests.support.cast import Org, make_org
from usage import combining
from usage.ledger import NewUsageEvent, Recorded
from usage.models import UsageEvent
from usage.services import record_usage

pytestmark = pytest.mark.django_db(transaction=True)
WAITING = 5
NOW = datetime.now(UTC)


@contextmanager
def held_counter(org: Org) -> Iterator[Callable[[], None]]:
    """Keep the counter locked, until the yielded function is called."""
    with by_hand() as other:
        other.execute(
            "SELECT 1 FROM quotas_usagecounter WHERE org_id = %s FOR UPDATE", [org.id]
        ).fetchall()
        yield other.rollback


def use(org: Org, request_id: str, *, value: int = 1) -> Recorded:
    return record_usage(org_id=org.id, event=NewUsageEvent("api_call", value, NOW, request_id))


def all_waiting(org: Org, uses: list[Callable[[], Recorded]]) -> list["Future[Recorded]"]:
    """Start uses behind one that waits for the counter; return when all of them wait."""
    first = in_thread(partial(use, org, "first"))
    wait_until_blocked()
    others = []
    for n, one in enumerate(uses, start=1):
        others.append(in_thread(one))
        deadline = time.monotonic() + 5
        while combining.waiting_for(org.id) < n:
            assert time.monotonic() < deadline, "it does not wait"
            time.sleep(0.001)  # polling another thread's arrival
    return [first, *others]


def transactions_of(org: Org) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT xmin::text) FROM usage_usageevent WHERE org_id = %s", [org.id]
        )
        [(count,)] = cursor.fetchall()
    return int(count)


def counter_of(org: Org) -> UsageCounter:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call")


def opened(included: int | None = None) -> Org:
    org = make_org(plan="pro", now=NOW, included=included)
    use(org, "opens")
    return org


def test_all_who_wait_are_counted_by_one_call_in_order_of_arrival(transactional_db: None) -> None:
    org = opened()
    with held_counter(org) as release:
        futures = all_waiting(org, [partial(use, org, f"r{n}") for n in range(WAITING)])
        release()

        outcomes = [one.result(10) for one in futures]

    assert [one.numbers.used for one in outcomes if one.numbers] == list(range(2, WAITING + 3))
    assert transactions_of(org) == 3  # the opening one, the first, and all who waited
    assert counter_of(org).used == sum_of_events(counter_of(org)) == WAITING + 2
    assert combining.waiting_for(org.id) == 0


def test_one_call_takes_no_more_along_than_its_share(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combining, "_MOST", 2)
    org = opened()
    with held_counter(org) as release:
        futures = all_waiting(org, [partial(use, org, f"r{n}") for n in range(WAITING)])
        release()

        assert [one.result(10).status for one in futures] == ["accepted"] * (WAITING + 1)

    assert transactions_of(org) == 5  # the opening one, the first, two, two, and the last


def test_who_gave_up_waiting_is_not_counted_and_holds_nobody_up(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = opened()
    with held_counter(org) as release:
        first = in_thread(partial(use, org, "first"))
        wait_until_blocked()
        monkeypatch.setattr(combining, "_PATIENCE", 0.0)
        with pytest.raises(Unavailable):
            use(org, "impatient")

        release()

        assert first.result(10).status == "accepted"
    assert combining.waiting_for(org.id) == 0
    assert use(org, "later").status == "accepted"
    assert counter_of(org).used == 3


def test_repeats_among_those_who_wait_count_once_and_hear_the_same(transactional_db: None) -> None:
    org = opened()
    with held_counter(org) as release:
        futures = all_waiting(org, [partial(use, org, "same") for _ in range(WAITING)])
        release()

        outcomes = [one.result(10) for one in futures[1:]]

    assert Counter(one.status for one in outcomes) == {"accepted": 1, "duplicate": WAITING - 1}
    assert {one.numbers.used for one in outcomes if one.numbers} == {3}
    assert counter_of(org).used == 3


def test_no_more_of_those_who_wait_are_let_in_than_there_is_room_for(
    transactional_db: None,
) -> None:
    org = opened(included=4)
    with held_counter(org) as release:
        futures = all_waiting(org, [partial(use, org, f"r{n}") for n in range(WAITING)])
        release()

        refused = [one for one in futures if isinstance(one.exception(10), QuotaExceeded)]

    assert len(refused) == 3
    assert counter_of(org).used == 4


def test_each_denial_is_noted_under_the_ids_of_its_own_request(transactional_db: None) -> None:
    org = opened(included=2)

    def ask(n: int) -> Recorded:
        with structlog.contextvars.bound_contextvars(request_id=f"call-{n}"):
            return use(org, f"r{n}")

    with held_counter(org) as release:
        futures = all_waiting(org, [partial(ask, n) for n in range(WAITING)])
        release()
        refusals = [one.exception(10) for one in futures[1:]]
    book.flush()

    assert all(isinstance(one, QuotaExceeded) for one in refusals)
    noted = DeniedRequest.objects.filter(denial__org_id=org.id)
    assert {(one.request_id, one.use_id) for one in noted} == {
        (f"call-{n}", f"r{n}") for n in range(WAITING)
    }


def test_who_waits_goes_on_when_the_one_at_work_fails(transactional_db: None) -> None:
    org = opened()
    with held_counter(org) as release:
        first, *others = all_waiting(org, [partial(use, org, f"r{n}") for n in range(WAITING)])

        assert isinstance(first.exception(10), Unavailable)
        release()

        assert [one.result(10).status for one in others] == ["accepted"] * WAITING
    assert counter_of(org).used == WAITING + 1


def test_what_cannot_be_counted_fails_alone(transactional_db: None) -> None:
    org = opened()
    huge = partial(use, org, "huge", value=2**70)
    with held_counter(org) as release:
        futures = all_waiting(org, [partial(use, org, "before"), huge, partial(use, org, "after")])
        release()

        [_, before, broken, after] = [one.exception(10) for one in futures]

    assert (before, after) == (None, None)
    assert isinstance(broken, ApiError)
    assert set(UsageEvent.objects.filter(org_id=org.id).values_list("request_id", flat=True)) == {
        "opens", "first", "before", "after",
    }  # fmt: skip
    assert use(org, "later").status == "accepted"
