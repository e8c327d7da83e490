"""`grant`: what billing says an organisation may use, and how it reaches counters and copy."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from config.contract import clock
from config.contract.clients import clients
from config.contract.ids import new_id
from quotas import counters, snapshots
from quotas.models import Entitlement, UsageCounter
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support.cast import make_org

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def org_id() -> str:
    return new_id("org")


def give(
    org_id: str, included: int = 100, *, now: datetime = NOW, overage: str = "block", **more: Any
) -> None:
    told: dict[str, Any] = {
        "plan_code": "pro",
        "status": "active",
        "allowances": {"api_call": Allowance(included, overage)},
        "because": "test",
        "anchor_at": NOW,
        **more,
    }
    with transaction.atomic():
        grant(org_id=org_id, now=now, **told)


def counter(org_id: str, at: datetime = NOW, metric: str = "api_call") -> UsageCounter:
    return UsageCounter.objects.get(
        org_id=org_id, metric=metric, period_start__lte=at, period_end__gt=at
    )


def open_at(org_id: str, at: datetime) -> UsageCounter:
    assert not counters.open_periods(org_id=org_id, wanted=[("api_call", at)], now=at)
    return counter(org_id, at)


def test_the_first_grant_opens_a_counter_for_each_metric(org_id: str) -> None:
    both = {"api_call": Allowance(10, "block"), "compute_ms": Allowance(20, "allow")}

    give(org_id, allowances=both)

    calls, compute = counter(org_id), counter(org_id, metric="compute_ms")
    assert (calls.included, calls.overage, calls.used) == (10, "block", 0)
    assert (compute.included, compute.overage) == (20, "allow")
    assert calls.access
    assert calls.valid_until == APRIL


def test_what_is_granted_is_in_the_copy_after_the_commit() -> None:
    org = make_org(included=10)
    now = clock.now()

    with transaction.atomic():
        give(org.id, 77, now=now)
        before = snapshots.from_copy(clients.copy.read(org.id), "api_call")
    after = snapshots.from_copy(clients.copy.read(org.id), "api_call")

    assert before is not None
    assert before.limit == 10
    assert after == snapshots.of_row(counter(org.id, now), epoch=1)
    assert after is not None
    assert after.limit == 77


def test_a_grant_that_is_rolled_back_reaches_neither_counter_nor_copy() -> None:
    org = make_org(included=10)

    with transaction.atomic():
        give(org.id, 77, now=clock.now())
        transaction.set_rollback(True)

    copied = snapshots.from_copy(clients.copy.read(org.id), "api_call")
    assert copied is not None
    assert copied.limit == counter(org.id, clock.now()).included == 10


def test_saying_the_same_again_changes_nothing(org_id: str) -> None:
    give(org_id)
    before = counter(org_id)

    give(org_id, now=NOW + timedelta(hours=1))

    assert counter(org_id).version == before.version
    assert Entitlement.objects.get(org_id=org_id).version == 1


def test_a_rise_reaches_the_open_counter_at_once_and_keeps_what_was_used(org_id: str) -> None:
    give(org_id, 100)
    UsageCounter.objects.filter(org_id=org_id).update(counted=60)
    before = counter(org_id)

    give(org_id, 500, now=NOW + timedelta(hours=1))

    after = counter(org_id)
    assert (after.included, after.used, after.remaining) == (500, 60, 440)
    assert after.version == before.version + 1


def test_a_cut_waits_for_the_next_period(org_id: str) -> None:
    give(org_id, 100)

    give(org_id, 40, now=NOW + timedelta(hours=1))

    assert counter(org_id).included == 100
    assert open_at(org_id, APRIL).included == 40


def test_a_cut_after_a_cut_in_one_period_leaves_the_first_limit(org_id: str) -> None:
    give(org_id, 100)
    give(org_id, 40, now=NOW + timedelta(hours=1))

    give(org_id, 20, now=NOW + timedelta(hours=2))

    assert counter(org_id).included == 100
    assert open_at(org_id, APRIL).included == 20


def test_a_cut_and_a_smaller_rise_in_one_period_leave_the_first_limit(org_id: str) -> None:
    give(org_id, 100)
    give(org_id, 40, now=NOW + timedelta(hours=1))

    give(org_id, 60, now=NOW + timedelta(hours=2))

    assert counter(org_id).included == 100
    assert open_at(org_id, APRIL).included == 60


def test_a_metric_that_the_new_plan_lacks_lasts_until_the_period_ends(org_id: str) -> None:
    give(org_id, 100)

    give(org_id, now=NOW + timedelta(hours=1), allowances={"compute_ms": Allowance(5, "block")})

    assert counter(org_id).included == 100
    assert counter(org_id, metric="compute_ms").included == 5
    assert open_at(org_id, APRIL).included == 0


def test_losing_the_subscription_closes_every_open_counter(org_id: str) -> None:
    give(org_id)

    give(org_id, status="canceled", now=NOW + timedelta(hours=1))

    assert not counter(org_id).access
    told = Entitlement.objects.get(org_id=org_id)
    assert told.status_since == NOW + timedelta(hours=1)


def test_who_comes_back_after_losing_access_starts_with_the_new_limit(org_id: str) -> None:
    give(org_id, 100)
    give(org_id, 100, status="canceled", now=NOW + timedelta(hours=1))

    give(org_id, 40, now=NOW + timedelta(hours=2))

    assert counter(org_id).included == 40
    assert counter(org_id).access


def test_a_trial_that_becomes_a_subscription_keeps_its_counter(org_id: str) -> None:
    give(org_id, status="trialing", trial_ends_at=NOW + timedelta(days=14))
    UsageCounter.objects.filter(org_id=org_id).update(counted=60)
    assert counter(org_id).valid_until == NOW + timedelta(days=15)

    give(org_id, now=NOW + timedelta(days=14))

    assert (counter(org_id).used, counter(org_id).valid_until) == (60, APRIL)


def test_a_scheduled_change_is_believed_until_its_instant(org_id: str) -> None:
    change = NOW + timedelta(days=3)
    later = ScheduledChange("business", {"api_call": Allowance(900, "allow")}, change)

    give(org_id, 100, scheduled=later)

    assert counter(org_id).included == 100
    assert counter(org_id).valid_until == change
    counters.refresh(org_id=org_id, now=change)
    assert (counter(org_id).included, counter(org_id).overage) == (900, "allow")


def test_a_change_that_is_taken_back_never_happens(org_id: str) -> None:
    change = NOW + timedelta(days=3)
    give(org_id, 100, scheduled=ScheduledChange("x", {"api_call": Allowance(9, "block")}, change))

    give(org_id, 100, now=NOW + timedelta(days=1))

    assert counter(org_id).valid_until == APRIL
    assert open_at(org_id, APRIL).included == 100


def test_a_grant_outside_a_transaction_is_refused(org_id: str) -> None:
    with pytest.raises(TransactionManagementError):
        grant(
            org_id=org_id, plan_code="pro", status="active", allowances={}, because="test",
            now=NOW, anchor_at=NOW,
        )  # fmt: skip
    assert not Entitlement.objects.exists()
