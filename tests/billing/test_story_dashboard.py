"""What staff do at Stripe's dashboard, past us, and what the customer pays after it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pytest_django.live_server_helper import LiveServer

from config.contract import clock
from config.contract.clients import clients
from tests.billing.agreement import Account, Terms, opening, unix
from tests.billing.deals import make_product
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.server import Control
from tests.support.cast import data, error


@pytest.fixture
def acme(live_server: LiveServer, sandbox: Control) -> Iterator[Account]:
    """Somebody whose trial ends on April 10, so that the first paid period has 30 days."""
    at = datetime(clock.now().year + 1, 3, 27, 12, tzinfo=UTC)
    with opening(live_server, sandbox, at) as account:
        yield account


@pytest.fixture
def staff(sandbox: Control) -> Dashboard:
    """Staff at Stripe's dashboard."""
    return Dashboard(clients.stripe)


def price_of(plan: str) -> str:
    """Return the price that a plan is sold at."""
    price = clients.stripe.find_price(lookup_key=plan)
    assert price is not None
    return str(price["id"])


def plan_item(account: Account) -> str:
    """Return the id of the item that sells the plan."""
    return account.mirror.stripe_item_id


def subscription(account: Account) -> str:
    """Return the id of the subscription that leads."""
    return account.mirror.stripe_subscription_id


def test_what_staff_change_at_stripe_is_what_holds_and_what_is_billed(
    acme: Account, staff: Dashboard
) -> None:
    another_plan_and_three_of_it(acme, staff)
    an_add_on_and_a_schedule(acme, staff)
    one_of_it_again_at_half_the_price(acme, staff)
    a_second_trial(acme, staff)
    payments_that_nobody_collects(acme, staff)
    a_second_subscription(acme, staff)
    a_customer_that_is_deleted(acme, staff)


def another_plan_and_three_of_it(acme: Account, staff: Dashboard) -> None:
    april, may = acme.on(4, 10), acme.on(5, 10)
    acme.is_billed(0)
    acme.is_billed(1_900)
    acme.reach(april, hours=2)
    paid: Terms = {"status": "active", "until": may, "trial_ends_at": april}
    acme.agrees(**paid, plan="starter", price=1_900, used=0, by_event=True)
    data(acme.owner.use(7_000))

    # Pro with 20 of 30 days left; the difference waits for the next invoice:
    # 1266.67 cents back, 6600 to pay.
    acme.reach(acme.on(4, 20))
    item = plan_item(acme)
    staff.edit(
        subscription(acme),
        items=[{"id": item, "price": price_of("pro")}],
        proration_date=unix(acme.on(4, 20)),
    )
    acme.answers("starter", "active", included=10_000, used=7_000)
    acme.agrees(**paid, plan="pro", price=9_900, used=7_000, by_event=True)
    # A preview that adds to the next invoice does not count what waits there already.
    waiting = data(acme.owner.preview("business", proration="create_prorations"))
    assert 26_600 <= waiting["amount"] <= 26_667

    # Three of it with 15 days left, billed at once: three quarters of the 66.00 back,
    # 3 x 99.00 / 2 to pay, and what waited.
    acme.reach(acme.on(4, 25))
    staff.edit(
        subscription(acme),
        items=[{"id": item, "quantity": 3}],
        proration_behavior="always_invoice",
        proration_date=unix(acme.on(4, 25)),
    )
    acme.is_billed(-1_267 + 6_600 - 4_950 + 14_850)
    acme.agrees(**paid, plan="pro", price=9_900, quantity=3, used=7_000, by_event=True)
    assert data(acme.owner.use(193_000))["remaining"] == 100_000

    # The customer's own upgrade keeps three. With 10 days left: two thirds of 148.50
    # back, 3 x 499.00 / 3 to pay.
    acme.reach(acme.on(4, 30))
    preview = data(acme.owner.preview("business"))
    assert preview["quota"]["includedUnits"] == 3_000_000
    upgraded = acme.owner.upgrade(
        "business", prorationDate=unix(acme.on(4, 30)), expectedAmount=-9_900 + 49_900
    )
    assert data(upgraded)["remaining"] == 2_800_000
    acme.is_billed(40_000)
    acme.agrees(**paid, plan="business", price=49_900, quantity=3, used=200_000)


def an_add_on_and_a_schedule(acme: Account, staff: Dashboard) -> None:
    may, june = acme.on(5, 10), acme.on(6, 10)
    support = staff.price(make_product(), 500)
    on_business: Terms = {
        "plan": "business",
        "status": "active",
        "price": 49_900,
        "quantity": 3,
        "until": may,
        "trial_ends_at": acme.on(4, 10),
    }
    acme.reach(acme.on(5, 2))
    staff.edit(subscription(acme), items=[{"price": support}], proration_behavior="none")
    acme.agrees(**on_business, used=0, by_event=True)
    assert data(acme.owner.preview("business"))["amount"] == 0

    # Staff schedule pro; the customer takes it back, and schedules it anew.
    staff.schedule(
        subscription(acme),
        {
            "items": [{"price": price_of("pro"), "quantity": 3}, {"price": support}],
            "duration": {"interval": "month", "interval_count": 1},
        },
    )
    acme.agrees(**on_business, used=0, scheduled=("pro", may), by_event=True)
    assert data(acme.owner.keep_plan()) == {"cancelled": True}
    acme.agrees(**on_business, used=0)
    assert data(acme.owner.downgrade("pro"))["newPlanCode"] == "pro"
    acme.agrees(**on_business, used=0, scheduled=("pro", may))

    # Three of pro and the add-on; May began with three of business.
    acme.reach(may, minutes=1)
    acme.answers("pro", "active", included=3_000_000, used=0)
    acme.reach(may, hours=2)
    acme.is_billed(3 * 9_900 + 500)
    on_pro: Terms = {**on_business, "plan": "pro", "price": 9_900, "until": june}
    acme.agrees(**on_pro, used=0, included=3_000_000, by_event=True)
    acme.reach(acme.on(6, 1))
    acme.agrees(**on_pro, used=0)


def one_of_it_again_at_half_the_price(acme: Account, staff: Dashboard) -> None:
    june, july = acme.on(6, 10), acme.on(7, 10)
    add_on = next(
        item["id"]
        for item in acme.stripe_subscription["items"]["data"]
        if item["id"] != plan_item(acme)
    )
    staff.edit(
        subscription(acme),
        items=[{"id": plan_item(acme), "quantity": 1}, {"id": add_on, "deleted": True}],
        proration_behavior="none",
    )
    on_pro: Terms = {
        "plan": "pro",
        "status": "active",
        "price": 9_900,
        "trial_ends_at": acme.on(4, 10),
    }
    acme.agrees(**on_pro, until=june, used=0, included=300_000, by_event=True)
    half = staff.coupon(percent_off=50, duration="forever")
    staff.edit(subscription(acme), discounts=[{"coupon": half}])
    acme.agrees(**on_pro, until=june, used=0, included=300_000, by_event=True)
    acme.reach(june, hours=2)
    acme.is_billed(4_950)
    acme.agrees(**on_pro, until=july, used=0, included=300_000, by_event=True)

    # 15 of 30 days left: half of the 49.50 back, a quarter of 499.00 to pay.
    acme.reach(acme.on(6, 25))
    upgraded = acme.owner.upgrade(
        "business", prorationDate=unix(acme.on(6, 25)), expectedAmount=-2_475 + 12_475
    )
    assert data(upgraded)["includedUnits"] == 1_000_000
    acme.is_billed(10_000)
    on_business: Terms = {**on_pro, "plan": "business", "price": 49_900}
    acme.agrees(**on_business, until=july, used=0)

    # A downgrade taken back leaves the coupon where it is.
    data(acme.owner.downgrade("starter"))
    acme.agrees(**on_business, until=july, used=0, scheduled=("starter", july))
    data(acme.owner.keep_plan())
    acme.agrees(**on_business, until=july, used=0)
    acme.reach(july, hours=2)
    acme.is_billed(24_950)
    acme.agrees(**on_business, until=acme.on(8, 10), used=0, by_event=True)


def a_second_trial(acme: Account, staff: Dashboard) -> None:
    # Staff give days away: until August 1 nothing is charged, and then a whole month.
    acme.reach(acme.on(7, 20))
    data(acme.owner.use(5_000))
    ends = acme.on(8, 1)
    staff.edit(subscription(acme), trial_end=unix(ends), proration_behavior="none")
    trial: Terms = {
        "plan": "business",
        "price": 49_900,
        "trial_ends_at": ends,
        "used": 5_000,
    }
    acme.agrees(**trial, status="trialing", until=ends, by_event=True)
    assert error(acme.owner.upgrade("pro"))["code"] == "PLAN_CHANGE_CONFLICT"
    # A downgrade waits for its end, and taking it back takes no day of it.
    assert data(acme.owner.downgrade("pro"))["newPlanCode"] == "pro"
    acme.agrees(**trial, status="trialing", until=ends, scheduled=("pro", ends))
    assert data(acme.owner.keep_plan()) == {"cancelled": True}
    acme.agrees(**trial, status="trialing", until=ends)
    acme.reach(ends, hours=2)
    acme.is_billed(24_950)
    acme.agrees(**{**trial, "used": 0}, status="active", until=acme.on(9, 1), by_event=True)


def payments_that_nobody_collects(acme: Account, staff: Dashboard) -> None:
    # What is billed is voided: past due here, with a week of grace.
    on_business: Terms = {
        "plan": "business",
        "price": 49_900,
        "until": acme.on(9, 1),
        "trial_ends_at": acme.on(8, 1),
        "used": 0,
    }
    acme.reach(acme.on(8, 3))
    staff.edit(subscription(acme), pause_collection={"behavior": "void"})
    paused: Terms = {**on_business, "status": "past_due", "at_stripe": "active"}
    acme.agrees(**paused, by_event=True)
    acme.reach(acme.on(8, 10), hours=1)
    acme.agrees(**paused, refused="PAYMENT_REQUIRED", by_event=True)
    staff.edit(subscription(acme), pause_collection="")
    acme.agrees(**on_business, status="active", by_event=True)


def a_second_subscription(acme: Account, staff: Dashboard) -> None:
    acme.reach(acme.on(8, 15))
    first = subscription(acme)
    on_business: Terms = {
        "plan": "business",
        "status": "active",
        "price": 49_900,
        "trial_ends_at": acme.on(8, 1),
        "used": 0,
    }
    second = staff.subscribe(acme.owner.customer_id, price_of("starter"))
    acme.is_billed(1_900)
    acme.agrees(**on_business, until=acme.on(9, 1), by_event=True)
    assert subscription(acme) == first

    # The better one is cancelled: the other grants at once, this month's units stay.
    data(acme.owner.cancel("now"))
    assert subscription(acme) == second["id"]
    until = datetime.fromtimestamp(second["items"]["data"][0]["current_period_end"], UTC)
    on_starter: Terms = {
        "plan": "starter",
        "status": "active",
        "price": 1_900,
        "until": until,
    }
    acme.agrees(**on_starter, used=0, included=1_000_000)
    acme.reach(acme.on(9, 1))
    acme.agrees(**on_starter, used=0)


def a_customer_that_is_deleted(acme: Account, staff: Dashboard) -> None:
    data(acme.owner.use(100))
    until = acme.mirror.current_period_end
    assert until is not None
    staff.delete_customer(acme.owner.customer_id)
    acme.hear()
    ended = acme.mirror.ended_at
    assert ended is not None
    acme.agrees(
        plan="starter",
        status="canceled",
        price=1_900,
        until=until,
        ends_at=ended,
        used=100,
        included=10_000,
        refused="PAYMENT_REQUIRED",
    )
    for refused in (
        acme.owner.upgrade("pro"),
        acme.owner.subscribe("pro"),
        acme.owner.resume(),
        acme.owner.preview("pro"),
    ):
        assert error(refused)["code"] == "PLAN_CHANGE_CONFLICT"
