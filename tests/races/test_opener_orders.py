"""An opener against a grant, in every order there is: by locks, and not by luck."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from django.db import transaction

from quotas import counters
from quotas.models import UsageCounter
from quotas.rollover import roll_over
from quotas.rules import Allowance
from quotas.services import grant
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.races.ledger import sum_of_events
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]

BEGAN = datetime(2026, 3, 10, 9, tzinfo=UTC)
NEXT = datetime(2026, 4, 1, tzinfo=UTC)


def rise(org: Org) -> None:
    """Grant more, as an upgrade does."""
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(500, "block")},
            because="test",
            now=NEXT,
            anchor_at=BEGAN,
        )


def by_touch(org: Org) -> None:
    """Open by the first use of the period."""
    [outcome] = ledger.record(
        org_id=org.id, events=[NewUsageEvent("api_call", 1, NEXT, "r")], now=NEXT
    )
    assert outcome.status == "accepted"


def by_rollover(org: Org) -> None:
    """Open ahead of it."""
    list(roll_over(now=NEXT))


@contextmanager
def entitlement_held(org: Org) -> Iterator[Callable[[], None]]:
    """Hold the entitlement's lock; yields what lets go of it."""
    with by_hand() as held:
        held.execute("SELECT 1 FROM quotas_entitlement WHERE org_id = %s FOR UPDATE", (org.id,))
        yield held.rollback


@pytest.fixture
def org(transactional_db: None) -> Iterator[Org]:
    """On 10 calls a month; whatever happens to it, it ends on 500."""
    made = make_org(now=BEGAN, included=10)
    yield made
    counter = UsageCounter.objects.get(
        org_id=made.id, metric="api_call", period_start__lte=NEXT, period_end__gt=NEXT
    )
    assert counter.included == 500
    assert counter.used == sum_of_events(counter)


@pytest.mark.parametrize("opens", [by_touch, by_rollover])
def test_one_after_the_other(org: Org, opens: Callable[[Org], None]) -> None:
    opens(org)

    rise(org)


@pytest.mark.parametrize("opens", [by_touch, by_rollover])
def test_the_grant_first(org: Org, opens: Callable[[Org], None]) -> None:
    rise(org)

    opens(org)


def test_a_touch_waits_for_the_grant(org: Org) -> None:
    with transaction.atomic():
        rise(org)
        touching = in_thread(partial(by_touch, org))
        wait_until_blocked()

    touching.result(5)


def test_a_rollover_passes_over_whom_a_grant_works_on(org: Org) -> None:
    with transaction.atomic():
        rise(org)

        in_thread(partial(by_rollover, org)).result(5)


@pytest.mark.parametrize("rolled", [False, True])
def test_the_grant_waits_for_an_opener(org: Org, rolled: bool) -> None:
    with transaction.atomic():
        if rolled:
            by_rollover(org)
        else:
            counters.open_periods(org_id=org.id, wanted=[("api_call", NEXT)], now=NEXT)
        granting = in_thread(partial(rise, org))
        wait_until_blocked()

    granting.result(5)


@pytest.mark.parametrize("order", [(by_touch, rise), (rise, by_touch)])
def test_both_wait_for_a_third(
    org: Org, order: tuple[Callable[[Org], None], Callable[[Org], None]]
) -> None:
    with entitlement_held(org) as let_go:
        waiting = []
        for n, work in enumerate(order, start=1):
            waiting.append(in_thread(partial(work, org)))
            wait_until_blocked(n)

        let_go()

        for one in waiting:
            one.result(5)


def test_a_rollover_between_two_grants_opens_nothing_old(org: Org) -> None:
    with entitlement_held(org) as let_go:
        granting = in_thread(partial(rise, org))
        wait_until_blocked()

        by_rollover(org)
        let_go()
        granting.result(5)
        by_rollover(org)
