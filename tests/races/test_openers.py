"""The first touch of a period: by many at once, against a grant, and across its boundary."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from quotas.check import check
from quotas.models import UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.races.conftest import Length
from tests.races.interleave import all_at_once, by_hand, in_thread, wait_until_blocked
from tests.races.ledger import sum_of_events
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.models import UsageEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]

BEGAN = datetime(2026, 3, 10, 9, tzinfo=UTC)
NEXT = datetime(2026, 4, 1, tzinfo=UTC)


_OPENED_BY_HAND = """
INSERT INTO quotas_usagecounter (
    org_id, metric, period_key, period_start, period_end, counted, forgiven, forgiven_version,
    included, adjusted, overage, access, valid_until, version, created_at, updated_at)
SELECT org_id, metric, 'by hand', %s, %s, 0, 0, 0,
       included, 0, overage, access, valid_until, 1, created_at, updated_at
  FROM quotas_usagecounter WHERE org_id = %s AND metric = 'api_call'
"""


def record(org: Org, request_id: str, now: datetime, *, value: int = 1) -> Recorded:
    event = NewUsageEvent("api_call", value, now, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    return outcome


def give(org: Org, included: int, now: datetime) -> None:
    """Grant so many calls, as billing does."""
    allowances = {"api_call": Allowance(included, "block")}
    with transaction.atomic():
        grant(
            org_id=org.id, plan_code="pro", status="active", allowances=allowances,
            because="test", now=now, anchor_at=BEGAN,
        )  # fmt: skip


def counter_at(org: Org, now: datetime) -> UsageCounter:
    return UsageCounter.objects.get(
        org_id=org.id, metric="api_call", period_start__lte=now, period_end__gt=now
    )


def test_many_first_touches_open_one_period_and_count_all(
    transactional_db: None, length: Length
) -> None:
    org = make_org(now=BEGAN, included=1_000)
    for month in range(1, length.of(4, 40)):
        now = BEGAN + timedelta(days=31 * month)

        outcomes = all_at_once([partial(record, org, f"{now:%Y-%m}-{n}", now) for n in range(6)])

        assert {outcome.status for outcome in outcomes} == {"accepted"}
        counter = counter_at(org, now)
        assert counter.used == sum_of_events(counter) == 6
        used = [outcome.numbers.used for outcome in outcomes if outcome.numbers]
        assert sorted(used) == [1, 2, 3, 4, 5, 6]


def test_checks_and_uses_that_open_together_agree_on_one_period(transactional_db: None) -> None:
    org = make_org(now=BEGAN, included=50)

    def asked() -> int:
        decided = check(org_id=org.id, metric="api_call", value=1, now=NEXT, held=None)
        return decided.numbers.limit

    def used() -> int:
        numbers = record(org, "r", NEXT).numbers
        return numbers.limit if numbers else 0

    limits = all_at_once([asked, used] * 3)

    assert limits == [50] * 6
    assert counter_at(org, NEXT).used == 1


def test_a_grant_that_comes_while_a_period_is_being_opened_reaches_it(
    transactional_db: None,
) -> None:
    org = make_org(now=BEGAN, included=10)
    with by_hand() as held:
        # The opener has read the old limit and is held at its insert.
        held.execute(_OPENED_BY_HAND, (NEXT, NEXT + timedelta(days=30), org.id))
        opener = in_thread(lambda: record(org, "r1", NEXT, value=10))
        wait_until_blocked(1)
        granting = in_thread(lambda: give(org, 500, NEXT))
        wait_until_blocked(2)

        held.rollback()
        outcome = opener.result(5)
        granting.result(5)

    assert outcome.status == "accepted"
    assert counter_at(org, NEXT).included == 500
    assert record(org, "r2", NEXT, value=400).status == "accepted"


def test_an_opener_that_comes_while_a_grant_is_being_written_waits_for_it(
    transactional_db: None,
) -> None:
    org = make_org(now=BEGAN, included=10)
    with transaction.atomic():
        give(org, 500, NEXT - timedelta(hours=1))  # raised within the old period

        opener = in_thread(lambda: record(org, "r1", NEXT, value=400))
        wait_until_blocked()

    assert opener.result(5).status == "accepted"
    assert counter_at(org, NEXT).included == 500


def test_openers_and_grants_in_any_order_never_leave_the_old_limit(
    transactional_db: None, length: Length
) -> None:
    org = make_org(now=BEGAN, included=10)
    for n in range(1, length.of(12, 200)):
        now = BEGAN + timedelta(days=31 * n)

        works: list[Callable[[], object]] = [
            *(partial(record, org, f"{n}-{i}", now) for i in range(3)),
            partial(give, org, 10 + n, now),
        ]

        all_at_once(works)

        counter = counter_at(org, now)
        assert counter.included == 10 + n
        assert counter.used == sum_of_events(counter)


def test_writers_across_a_boundary_are_each_counted_in_one_period(
    transactional_db: None, length: Length
) -> None:
    org = make_org(now=BEGAN, included=10_000)
    step = timedelta(microseconds=1)
    each = length.of(10, 200)

    def writer(n: int) -> list[tuple[datetime, Recorded]]:
        instants = [NEXT + step * ((i * 4 + n) - each * 2) for i in range(each)]
        return [(at, record(org, f"{n}-{at.isoformat()}", at)) for at in instants]

    told = all_at_once([partial(writer, n) for n in range(4)])
    outcomes = [one for answers in told for one in answers]

    keys = Counter(outcome.numbers.period_key for _, outcome in outcomes if outcome.numbers)
    assert keys == {"2026-03": each * 2, "2026-04": each * 2}
    assert all(
        outcome.numbers and outcome.numbers.period_key == f"{at:%Y-%m}" for at, outcome in outcomes
    )
    for key in keys:
        counter = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key=key)
        assert counter.used == sum_of_events(counter) == each * 2
    assert UsageEvent.objects.count() == each * 4
