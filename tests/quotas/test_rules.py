"""What an entitlement means at an instant."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from quotas import rules
from quotas.models import Entitlement
from quotas.rules import Allowance

START = datetime(2026, 3, 10, 9, tzinfo=UTC)
MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)


def snapshot(included: int, overage: str = "block") -> dict[str, Any]:
    return {"api_call": {"included": included, "overage": overage}}


def entitlement(**more: Any) -> Entitlement:
    return Entitlement(
        **{
            "org_id": "org_1",
            "plan_code": "pro",
            "status": "active",
            "allowances": snapshot(100),
            "allowances_since": START,
            "started_at": START,
            "anchor_at": START,
            **more,
        }
    )


def limit(one: Entitlement, *, period: datetime, at: datetime) -> Allowance:
    end = period + relativedelta(months=1)
    return rules.limit_for(one, "api_call", period_start=period, period_end=end, at=at)


@pytest.mark.parametrize(
    ("status", "ends", "access"),
    [
        ("active", None, None),
        ("trialing", {"trial_ends_at": START}, START + DAY),
        ("past_due", {"past_due_since": START}, START + 7 * DAY),
    ],
)
def test_a_valid_subscription_gives_access_until_its_grace_is_over(
    status: str, ends: dict[str, datetime] | None, access: datetime | None
) -> None:
    one = entitlement(status=status, **(ends or {}))

    if access is None:
        assert rules.has_access(one, START + 10_000 * DAY)
        assert rules.next_change(one, START) == START + rules.FAR
    else:
        assert rules.has_access(one, access - TICK)
        assert not rules.has_access(one, access)
        assert rules.next_change(one, START) == access
        assert rules.next_change(one, access) == access + rules.FAR


@pytest.mark.parametrize(
    "status", ["incomplete", "incomplete_expired", "unpaid", "paused", "canceled"]
)
def test_every_other_status_gives_none(status: str) -> None:
    assert not rules.has_access(entitlement(status=status), START)


def test_a_rise_applies_to_the_open_period_at_once() -> None:
    one = entitlement(prior_allowances=snapshot(10))

    assert limit(one, period=MARCH, at=START).included == 100


def test_a_cut_applies_to_the_next_period() -> None:
    one = entitlement(prior_allowances=snapshot(1_000))

    assert limit(one, period=MARCH, at=START).included == 1_000
    assert limit(one, period=APRIL, at=START).included == 100


def test_a_cut_at_the_very_start_of_a_period_applies_to_it() -> None:
    one = entitlement(prior_allowances=snapshot(1_000), allowances_since=APRIL)

    assert limit(one, period=APRIL, at=APRIL).included == 100


def test_taking_overage_away_is_a_cut_and_allowing_it_a_rise() -> None:
    taken = entitlement(prior_allowances=snapshot(1, "allow"), allowances=snapshot(9_999))
    given_ = entitlement(prior_allowances=snapshot(9_999), allowances=snapshot(1, "allow"))

    assert limit(taken, period=MARCH, at=START) == Allowance(1, "allow")
    assert limit(given_, period=MARCH, at=START) == Allowance(1, "allow")


def test_a_metric_the_plan_does_not_name_has_nothing() -> None:
    nothing = rules.limit_for(entitlement(), "x", period_start=MARCH, period_end=APRIL, at=START)
    assert nothing == rules.NOTHING


def test_a_scheduled_change_takes_over_by_itself() -> None:
    change = START + 5 * DAY
    one = entitlement(
        scheduled_at=change, scheduled_plan_code="business", scheduled_allowances=snapshot(500)
    )

    assert rules.plan_code_at(one, change - TICK) == "pro"
    assert rules.plan_code_at(one, change) == "business"
    assert limit(one, period=MARCH, at=change - TICK).included == 100
    assert limit(one, period=MARCH, at=change).included == 500
    assert rules.next_change(one, START) == change


def test_a_scheduled_cut_leaves_the_open_period_alone() -> None:
    change = START + 5 * DAY
    one = entitlement(
        scheduled_at=change, scheduled_plan_code="starter", scheduled_allowances=snapshot(5)
    )

    assert limit(one, period=MARCH, at=change).included == 100
    assert limit(one, period=APRIL, at=APRIL).included == 5


def test_the_earliest_of_several_changes_comes_next() -> None:
    one = entitlement(
        status="trialing",
        trial_ends_at=START + 2 * DAY,
        scheduled_at=START + 5 * DAY,
        scheduled_plan_code="x",
        scheduled_allowances={},
    )

    assert rules.next_change(one, START) == START + 3 * DAY
    assert rules.next_change(one, START + 3 * DAY) == START + 5 * DAY


def test_a_counter_is_believed_until_the_next_change_or_its_end() -> None:
    change = START + 5 * DAY
    changing = entitlement(scheduled_at=change, scheduled_plan_code="x", scheduled_allowances={})

    def until(one: Entitlement, *, at: datetime, overage: str = "block") -> datetime:
        return rules.valid_until(one, period_end=APRIL, overage=overage, at=at)

    assert until(changing, at=START) == change
    assert until(entitlement(), at=START) == APRIL
    assert until(entitlement(), at=APRIL) == APRIL + timedelta(minutes=15)
    assert until(entitlement(), at=APRIL, overage="allow") == APRIL + timedelta(hours=72)


allowances = st.builds(Allowance, st.integers(0, 10**12), st.sampled_from(["block", "allow"]))


@given(allowances, allowances)
def test_of_two_allowances_one_is_at_least_the_other(one: Allowance, other: Allowance) -> None:
    assert one.at_least(one)
    assert one.at_least(other) or other.at_least(one)
    assert (one.at_least(other) and other.at_least(one)) == (one == other)


@given(allowances, allowances, st.integers(-40, 40), st.integers(-40, 40))
def test_a_change_never_takes_from_a_period_that_had_begun(
    before: Allowance, after: Allowance, since: int, period: int
) -> None:
    one = entitlement(
        prior_allowances=snapshot(before.included, before.overage),
        allowances=snapshot(after.included, after.overage),
        allowances_since=START + since * DAY,
    )

    got = limit(one, period=START + period * DAY, at=START + 50 * DAY)

    assert got in (before, after)
    if period < since:
        assert got.at_least(before)
    else:
        assert got == after
