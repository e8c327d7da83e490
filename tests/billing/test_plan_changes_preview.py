"""POST /api/plans/preview: to the cent what a change would bill, and nothing written."""

from fractions import Fraction
from math import floor
from typing import Any

import pytest

from billing.models import Plan, PlanAllowance
from config.contract import clock
from config.contract.clients import clients
from quotas.corrections import adjust
from tests.billing.catalogues import BUSINESS_ANNUAL
from tests.billing.owners import Owner, new_owner, paid
from tests.contract.state import nothing_written
from tests.sandbox.server import Control
from tests.support.cast import data, error

STARTER, PRO, BUSINESS = 1900, 9900, 49900
MODES = ("always_invoice", "create_prorations", "none")


def prorated(owner: Owner, at: int, old: int, new: int) -> tuple[int, int]:
    """Return credit and debit of a change at `at`, by Stripe's published arithmetic."""
    mirror = owner.mirror
    assert mirror.current_period_start is not None
    assert mirror.current_period_end is not None
    start = int(mirror.current_period_start.timestamp())
    end = int(mirror.current_period_end.timestamp())
    left = Fraction(end - at, end - start)
    return floor(-left * old), floor(left * new)


@pytest.fixture
def on_pro(owner: Owner, sandbox: Control) -> Owner:
    """An owner ten days into a period on pro."""
    data(owner.upgrade("pro"))
    sandbox.travel(days=10)
    return owner


def test_due_now_is_credit_and_debit_of_the_rest_of_the_period(on_pro: Owner) -> None:
    seen = data(on_pro.preview("business"))

    credit, debit = prorated(on_pro, seen["prorationDate"], PRO, BUSINESS)
    assert [one["amount"] for one in seen["items"]] == [credit, debit]
    assert seen["amount"] == credit + debit
    assert all(one["proration"] and one["quantity"] == 1 for one in seen["items"])
    assert (seen["currency"], seen["proration"]) == ("usd", "always_invoice")


@pytest.mark.parametrize("plan", ["business", "starter"])
def test_added_to_the_next_invoice_are_the_prorations_alone(on_pro: Owner, plan: str) -> None:
    seen = data(on_pro.preview(plan, proration="create_prorations"))

    new = {"business": BUSINESS, "starter": STARTER}[plan]
    credit, debit = prorated(on_pro, seen["prorationDate"], PRO, new)
    assert [one["amount"] for one in seen["items"]] == [credit, debit]
    assert seen["amount"] == credit + debit
    assert (seen["amount"] > 0) == (plan == "business")


def test_without_proration_nothing_is_billed(on_pro: Owner) -> None:
    seen = data(on_pro.preview("business", proration="none"))

    assert (seen["amount"], seen["items"], seen["proration"]) == (0, [], "none")


def test_a_cheaper_plan_has_nothing_due_now_and_shows_its_credit(on_pro: Owner) -> None:
    seen = data(on_pro.preview("starter"))

    credit, debit = prorated(on_pro, seen["prorationDate"], PRO, STARTER)
    assert [one["amount"] for one in seen["items"]] == [credit, debit]
    assert seen["amount"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_the_plan_one_is_on_costs_nothing(on_pro: Owner, mode: str) -> None:
    seen = data(on_pro.preview("pro", proration=mode))

    assert (seen["amount"], seen["items"], seen["currency"]) == (0, [], "usd")


@pytest.mark.parametrize("mode", MODES)
def test_in_a_trial_the_first_period_is_due_at_once(owner: Owner, mode: str) -> None:
    seen = data(owner.preview("pro", proration=mode))

    assert seen["amount"] == PRO
    assert [one["amount"] for one in seen["items"]] == [PRO]
    assert seen["items"][0]["proration"] is False


def test_the_plan_of_the_trial_costs_nothing_now(owner: Owner) -> None:
    assert data(owner.preview("starter"))["amount"] == 0


def test_what_was_previewed_is_what_is_charged_a_while_later(
    on_pro: Owner, sandbox: Control
) -> None:
    seen = data(on_pro.preview("business"))
    sandbox.travel(seconds=14 * 60)

    data(
        on_pro.upgrade(
            "business", prorationDate=seen["prorationDate"], expectedAmount=seen["amount"]
        )
    )

    assert paid(sandbox) == [PRO, seen["amount"]]
    billed = sandbox.objects("invoice")[-1]["lines"]["data"]
    assert [one["amount"] for one in billed] == [one["amount"] for one in seen["items"]]


def test_prorations_that_wait_are_part_of_what_is_due(on_pro: Owner, sandbox: Control) -> None:
    mirror = on_pro.mirror
    business = clients.stripe.find_price(lookup_key="business")["id"]
    clients.stripe.change_subscription(
        subscription_id=mirror.stripe_subscription_id,
        item_id=mirror.stripe_item_id,
        price_id=business,
        proration="create_prorations",
        idempotency_key="by-hand",
    )
    clients.stripe.change_subscription(
        subscription_id=mirror.stripe_subscription_id,
        item_id=mirror.stripe_item_id,
        price_id=Plan.objects.get(code="pro").stripe_price_id,
        proration="none",
        idempotency_key="and-back",
    )

    seen = data(on_pro.preview("business"))
    data(
        on_pro.upgrade(
            "business", prorationDate=seen["prorationDate"], expectedAmount=seen["amount"]
        )
    )

    assert len(seen["items"]) == 4
    assert paid(sandbox) == [PRO, seen["amount"]]


@pytest.mark.parametrize("stale", [{"seconds": 16 * 60}, {"days": 25}])
def test_an_old_preview_is_refused(on_pro: Owner, sandbox: Control, stale: dict[str, int]) -> None:
    seen = data(on_pro.preview("business"))
    sandbox.travel(**stale)

    response = on_pro.upgrade("business", prorationDate=seen["prorationDate"])

    assert (response.status_code, error(response)["code"]) == (409, "PREVIEW_STALE")
    assert len(paid(sandbox)) <= 2
    assert on_pro.mirror.plan_code == "pro"


def test_a_preview_of_the_period_before_is_refused(owner: Owner, sandbox: Control) -> None:
    owner.upgrade("pro")
    ends = owner.mirror.current_period_end
    assert ends is not None
    sandbox.travel(seconds=int(ends.timestamp()) - sandbox.now() - 60)
    seen = data(owner.preview("business"))
    sandbox.travel(seconds=120)

    response = owner.upgrade("business", prorationDate=seen["prorationDate"])

    assert (response.status_code, error(response)["code"]) == (409, "PREVIEW_STALE")


def test_a_date_from_the_future_is_refused(on_pro: Owner, sandbox: Control) -> None:
    response = on_pro.upgrade("business", prorationDate=sandbox.now() + 600)

    assert error(response)["code"] == "PREVIEW_STALE"


@pytest.mark.parametrize(
    "asked",
    [
        {"planCode": "business"},
        {"planCode": "business", "proration": "create_prorations"},
        {"planCode": "starter"},
        {"planCode": "pro"},
        {"planCode": "platinum"},
    ],
)
def test_a_preview_writes_nothing_here_and_nothing_there(
    on_pro: Owner, sandbox: Control, asked: dict[str, Any]
) -> None:
    on_pro.preview("business")  # which price a plan has is asked once, and kept
    events, objects = len(sandbox.events()), sandbox.state()["objects"]

    with nothing_written():
        on_pro.post("/api/plans/preview", {"orgId": on_pro.id, **asked})

    assert len(sandbox.events()) == events
    assert sandbox.state()["objects"] == objects


def test_the_quota_shown_is_the_one_the_change_will_give(owner: Owner) -> None:
    owner.use(9000)
    # What staff granted on top of the plan stays with the period.
    adjust(
        org_id=owner.id,
        metric="api_call",
        units=500,
        reason="goodwill",
        who="staff",
        now=clock.now(),
    )

    seen = data(owner.preview("pro"))["quota"]
    answer = data(owner.upgrade("pro"))

    assert seen == {"includedUnits": 100500, "used": 9000, "remaining": 91500}
    assert {name: answer[name] for name in seen} == seen


def test_a_smaller_plan_than_what_is_used_has_nothing_remaining(on_pro: Owner) -> None:
    on_pro.use(50_000)

    assert data(on_pro.preview("starter"))["quota"] == {
        "includedUnits": 10_000,
        "used": 50_000,
        "remaining": 0,
    }


@pytest.mark.parametrize("fault", ["error", "cut_before", "rate_limited"])
def test_a_fault_at_stripe_is_named(owner: Owner, sandbox: Control, fault: str) -> None:
    sandbox.fault(fault)

    response = owner.preview("pro")

    assert response.status_code == (502 if fault == "error" else 503)
    assert error(response)["code"] == ("STRIPE_ERROR" if fault == "error" else "UNAVAILABLE")


@pytest.mark.parametrize("mode", ["create_prorations", "none"])
def test_prorations_that_wait_from_before_are_not_the_changes(
    on_pro: Owner, sandbox: Control, mode: str
) -> None:
    alone = data(on_pro.preview("business", proration=mode))
    mirror = on_pro.mirror
    for plan, proration in (("business", "create_prorations"), ("pro", "create_prorations")):
        clients.stripe.change_subscription(
            subscription_id=mirror.stripe_subscription_id,
            item_id=mirror.stripe_item_id,
            price_id=clients.stripe.find_price(lookup_key=plan)["id"],
            further_items=[],
            proration=proration,
            proration_date=alone["prorationDate"],
            idempotency_key=f"by-hand:{plan}",
        )

    seen = data(on_pro.preview("business", proration=mode))

    # A cent less is given back where what was debited was rounded down.
    pairs = zip(seen["items"], alone["items"], strict=True)
    assert all(abs(one["amount"] - other["amount"]) <= 1 for one, other in pairs)
    assert len(seen["items"]) == (0 if mode == "none" else 2)
    assert seen["amount"] == sum(one["amount"] for one in seen["items"])


@pytest.mark.usefixtures("annual_plans")
@pytest.mark.parametrize("mode", MODES)
def test_another_interval_is_billed_at_once_in_every_mode(
    on_pro: Owner, sandbox: Control, mode: str
) -> None:
    seen = data(on_pro.preview("business_annual", proration=mode))

    credit, _ = prorated(on_pro, seen["prorationDate"], PRO, 0)
    credits = [] if mode == "none" else [credit]
    amounts = [one["amount"] for one in seen["items"]]
    assert sorted(amounts) == sorted([*credits, BUSINESS_ANNUAL])
    assert seen["amount"] == sum(amounts)


PLANS = ["starter", "pro_annual", "pro", "business_annual", "business"]
PERIODS = {
    "months": ["calendar_month"],
    "billing": ["billing_period"],
    "mixed": ["billing_period", "calendar_month"],
    "otherwise": ["calendar_month", "billing_period"],
}


@pytest.mark.usefixtures("annual_plans")
@pytest.mark.parametrize("periods", list(PERIODS))
@pytest.mark.parametrize("place", range(len(PLANS) - 1))
def test_the_quota_shown_is_the_answers_for_every_pair_of_plans(
    sandbox: Control, periods: str, place: int
) -> None:
    for number, code in enumerate(PLANS):
        quota_period = PERIODS[periods][number % len(PERIODS[periods])]
        Plan.objects.filter(code=code).update(quota_period=quota_period)
    try:
        for wanted in PLANS[place + 1 :]:
            owner = new_owner()
            if place:
                data(owner.upgrade(PLANS[place]))
            owner.use(4_000)
            grant: dict[str, Any] = {
                "org_id": owner.id,
                "metric": "api_call",
                "reason": "x",
                "who": "test",
            }
            adjust(**grant, units=500, now=clock.now())
            # Stripe's anchors are whole seconds: one of the same second restarts nothing.
            sandbox.travel(seconds=60)

            seen = data(owner.preview(wanted))["quota"]
            answer = data(owner.upgrade(wanted))

            assert {name: answer[name] for name in seen} == seen, wanted
            assert seen["remaining"] == owner.entitlements()["remaining"]
    finally:
        Plan.objects.update(quota_period="calendar_month")


@pytest.mark.usefixtures("annual_plans")
def test_a_dearer_plan_with_fewer_units_shows_what_is_kept_for_this_period(owner: Owner) -> None:
    # A lower limit holds from the next period on: the answer says what holds now.
    data(owner.upgrade("pro"))
    PlanAllowance.objects.filter(plan__code="business", metric="api_call").update(
        included_units=5_000, overage="block", overage_unit_amount=None
    )
    try:
        seen = data(owner.preview("business"))["quota"]
        answer = data(owner.upgrade("business"))
    finally:
        PlanAllowance.objects.filter(plan__code="business", metric="api_call").update(
            included_units=1_000_000, overage="allow", overage_unit_amount="0.05"
        )

    assert seen == {"includedUnits": 100_000, "used": 0, "remaining": 100_000}
    assert {name: answer[name] for name in seen} == seen
