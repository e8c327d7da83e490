"""GET /api/plans: the catalogue that is shipped."""

from typing import Any

import pytest

from tests.contract.routes import client
from tests.support.cast import data

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def plans() -> dict[str, Any]:
    return {plan["planCode"]: plan for plan in data(client().get("/api/plans"))["plans"]}


@pytest.mark.parametrize(
    ("code", "amount", "trial_days", "calls", "compute"),
    [
        ("starter", 1900, 14, 10_000, 1_000_000),
        ("pro", 9900, 0, 100_000, 20_000_000),
        ("business", 49900, 0, 1_000_000, 400_000_000),
    ],
)
def test_a_plan_costs_and_includes_what_was_announced(
    plans: dict[str, Any], code: str, amount: int, trial_days: int, calls: int, compute: int
) -> None:
    plan = plans[code]

    assert (plan["amount"], plan["currency"], plan["interval"]) == (amount, "usd", "month")
    assert plan["trialDays"] == trial_days
    assert plan["includedUnits"] == plan["metrics"]["api_call"]["includedUnits"] == calls
    assert plan["metrics"]["compute_ms"]["includedUnits"] == compute


def test_only_calls_on_business_may_go_over(plans: dict[str, Any]) -> None:
    over = {
        (code, metric)
        for code, plan in plans.items()
        for metric, one in plan["metrics"].items()
        if one["overage"] == "allow"
    }

    assert over == {("business", "api_call")}
    assert plans["business"]["metrics"]["api_call"]["overageUnitAmount"] is not None


def test_plans_are_shown_to_anybody_cheapest_first(plans: dict[str, Any]) -> None:
    assert list(plans) == ["starter", "pro", "business"]
