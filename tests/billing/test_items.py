"""What a subscription consists of: the plan's item in any place, add-ons, strangers, quantities."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from billing import convergence
from billing.models import Organization, Subscription
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.billing.deals import Json, at_stripe, edit, key, make_price, make_product, prices_of
from tests.billing.owners import Owner, new_owner, use_card
from tests.sandbox.server import Control
from tests.support.cast import data, error
from tests.support.length import Length
from tests.webhooks.cast import deliver, work_off
from webhooks.models import WebhookEvent
from webhooks.reconciliation import reconcile

INCLUDED = {"starter": 10_000, "pro": 100_000, "business": 1_000_000}


@pytest.fixture
def on_pro(owner: Owner) -> Owner:
    """An owner who pays for pro."""
    data(owner.upgrade("pro"))
    return owner


def addon(amount: int = 500, **more: Any) -> str:
    """Make a price of no plan, of a product of its own."""
    return str(make_price(make_product(), amount, **more)["id"])


def metered_addon() -> str:
    """Make a metered price of no plan."""
    meter = clients.stripe.create_meter(event_name="sms", display_name="SMS", idempotency_key=key())
    return addon(7, recurring={"usage_type": "metered", "meter": meter["id"]})


def put_first(owner: Owner, price_id: str) -> None:
    """Give the subscription another first item, its plan after it."""
    [item] = at_stripe(owner)["items"]["data"]
    plan = item["price"]["id"]
    edit(owner, {"id": item["id"], "price": price_id})
    edit(owner, {"price": plan, "quantity": item["quantity"]})


def put_on(owner: Owner, price_id: str) -> None:
    """Leave the subscription nothing but this price."""
    item, *others = at_stripe(owner)["items"]["data"]
    gone = [{"id": other["id"], "deleted": True} for other in others]
    edit(owner, {"id": item["id"], "price": price_id}, *gone)


def hear(owner: Owner, sandbox: Control) -> None:
    """Let the newest events of the subscription be worked on; none may be left."""
    for event in sandbox.events(owner.mirror.stripe_subscription_id)[-3:]:
        deliver(event)
    work_off()
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"processed"}


# Add-ons


def test_an_add_on_in_front_of_the_plan_is_left_alone(on_pro: Owner, sandbox: Control) -> None:
    extra = addon()
    put_first(on_pro, extra)
    hear(on_pro, sandbox)

    assert on_pro.mirror.plan_code == "pro"
    assert data(on_pro.preview("business"))["amount"] > 0
    assert data(on_pro.upgrade("business"))["planCode"] == "business"
    assert prices_of(on_pro)[0] == extra
    assert len(prices_of(on_pro)) == 3
    assert data(on_pro.downgrade("pro"))["newPlanCode"] == "pro"
    assert on_pro.entitlements()["scheduledChange"]["newPlanCode"] == "pro"
    assert data(on_pro.cancel())["status"] == "active"


def test_add_ons_outlive_a_downgrade(owner: Owner, sandbox: Control) -> None:
    data(owner.upgrade("business"))
    extra, sms = addon(), metered_addon()
    edit(owner, {"price": extra, "quantity": 2}, {"price": sms})
    owner.converge()

    data(owner.downgrade("pro"))
    sandbox.travel(days=32)
    owner.converge()

    assert owner.mirror.plan_code == "pro"
    assert set(prices_of(owner)) == {owner.mirror.stripe_price_id, extra, sms}
    [item] = [one for one in at_stripe(owner)["items"]["data"] if one["price"]["id"] == extra]
    assert item["quantity"] == 2


def test_a_metered_add_on_outlives_an_upgrade(on_pro: Owner) -> None:
    sms = metered_addon()
    edit(on_pro, {"price": sms})

    data(on_pro.upgrade("business"))

    assert sms in prices_of(on_pro)


# Prices of no plan


@pytest.mark.parametrize("at", ["now", "period_end"])
def test_cancelling_and_resuming_need_no_plan(on_pro: Owner, sandbox: Control, at: str) -> None:
    put_on(on_pro, addon())
    hear(on_pro, sandbox)

    cancelled = data(on_pro.cancel(at))

    assert cancelled["status"] == ("canceled" if at == "now" else "active")
    if at == "period_end":
        assert cancelled["endsAt"] is not None
        assert data(on_pro.resume())["endsAt"] is None


def test_a_paused_subscription_of_no_plan_is_resumed(
    sandbox: Control, transactional_db: None
) -> None:
    sandbox.settings(auto_card=False)
    owner = new_owner("Cardless")
    put_on(owner, addon())
    sandbox.travel(days=15)
    owner.converge()
    paused = owner.mirror.status

    use_card(owner, "pm_card_visa")
    resumed = data(owner.resume())

    assert (paused, resumed["status"]) == ("paused", "active")


def test_the_plan_of_a_price_of_no_plan_cannot_be_changed_or_previewed(
    on_pro: Owner, sandbox: Control
) -> None:
    put_on(on_pro, addon())
    hear(on_pro, sandbox)

    for response in (on_pro.upgrade("business"), on_pro.preview("business")):
        assert (response.status_code, error(response)["code"]) == (502, "STRIPE_ERROR")
    assert on_pro.entitlements()["planCode"] == "pro"


def test_what_is_unpaid_at_a_price_of_no_plan_loses_access(on_pro: Owner, sandbox: Control) -> None:
    sandbox.settings(dunning_outcome="unpaid")
    put_on(on_pro, addon())
    sandbox.fault("card_declined", count=-1)

    sandbox.travel(days=60)
    hear(on_pro, sandbox)

    assert on_pro.entitlements()["status"] == "unpaid"
    assert on_pro.use().status_code == 402


def test_a_schedule_to_a_price_of_no_plan_does_not_freeze_the_running_one(
    on_pro: Owner, sandbox: Control
) -> None:
    extra = addon()
    clients.stripe.schedule_change(
        subscription=at_stripe(on_pro), price_id=extra, idempotency_key=key()
    )
    sandbox.fault("card_declined", count=-1)
    sandbox.settings(dunning_outcome="unpaid")
    hear(on_pro, sandbox)

    assert on_pro.mirror.plan_code == "pro"
    assert on_pro.mirror.stripe_schedule_id
    assert on_pro.entitlements()["scheduledChange"] is None
    organization = Organization.objects.get(org_id=on_pro.id)
    kinds = [one.kind for one in reconcile(organization, repair=False)]
    assert [kind for kind in kinds if kind.startswith("unknown")] == ["unknown_scheduled_price"]
    assert data(on_pro.cancel())["endsAt"] is not None


# Quantities


def test_so_many_plans_include_so_many_times_the_units(on_pro: Owner, sandbox: Control) -> None:
    item = at_stripe(on_pro)["items"]["data"][0]
    edit(on_pro, {"id": item["id"], "quantity": 3})
    hear(on_pro, sandbox)

    assert on_pro.mirror.quantity == 3
    assert on_pro.entitlements()["metrics"]["api_call"]["includedUnits"] == 300_000
    previewed = data(on_pro.preview("business"))
    upgraded = data(on_pro.upgrade("business"))
    assert previewed["quota"]["includedUnits"] == upgraded["includedUnits"] == 3_000_000
    assert at_stripe(on_pro)["items"]["data"][0]["quantity"] == 3


def test_a_downgrade_keeps_the_quantity(on_pro: Owner, sandbox: Control) -> None:
    item = at_stripe(on_pro)["items"]["data"][0]
    edit(on_pro, {"id": item["id"], "quantity": 2})

    data(on_pro.downgrade("starter"))
    scheduled = Entitlement.objects.get(org_id=on_pro.id).scheduled_allowances
    sandbox.travel(days=32)
    on_pro.converge()

    assert scheduled is not None
    assert scheduled["api_call"]["included"] == 20_000
    assert (on_pro.mirror.plan_code, on_pro.mirror.quantity) == ("starter", 2)
    now_in_force = Entitlement.objects.get(org_id=on_pro.id).allowances
    assert now_in_force["api_call"]["included"] == 20_000


# Any mixture


def test_any_mixture_of_items_can_be_previewed_changed_and_left(
    sandbox: Control, transactional_db: None, length: Length
) -> None:
    chance = random.Random(7)
    licensed, sms = addon(), metered_addon()
    for number in range(length.of(5, 60)):
        owner = new_owner(f"Mix {number}")
        plan = chance.choice(["starter", "pro"])
        if plan == "pro":
            data(owner.upgrade("pro"))
        quantity = chance.choice([1, 1, 2, 5])
        extras = chance.sample([licensed, sms], chance.randint(0, 2))
        _mix(owner, chance, quantity, extras)
        hear(owner, sandbox)
        ways: list[Callable[[Owner], Any]] = [_raise, _lower, _leave]

        _check(owner, plan, quantity, extras)
        for way in chance.sample(ways, 2) if plan == "pro" else [_raise, _leave]:
            way(owner)
            assert set(extras) <= set(prices_of(owner)) or owner.mirror.status == "canceled"
            assert owner.mirror.quantity == quantity


def _mix(owner: Owner, chance: random.Random, quantity: int, extras: list[str]) -> None:
    """Add the extras, before and after the plan's item as chance has it."""
    [item] = at_stripe(owner)["items"]["data"]
    plan: Json = {"price": item["price"]["id"], "quantity": quantity}
    entries: list[Json] = [plan, *({"price": extra} for extra in extras)]
    chance.shuffle(entries)
    # Stripe keeps them in the order in which they came: the plan's comes anew.
    standing_in = addon()
    edit(owner, {"id": item["id"], "price": standing_in})
    for entry in entries:
        edit(owner, entry)
    edit(owner, {"id": item["id"], "deleted": True})


def _check(owner: Owner, plan: str, quantity: int, extras: list[str]) -> None:
    mirror = Subscription.objects.get(org_id=owner.id)
    assert (mirror.plan_code, mirror.quantity) == (plan, quantity)
    included = owner.entitlements()["metrics"]["api_call"]["includedUnits"]
    assert included == INCLUDED[plan] * quantity
    assert convergence.plan_item(at_stripe(owner))["price"]["lookup_key"] == plan


def _raise(owner: Owner) -> None:
    previewed = data(owner.preview("business"))
    upgraded = data(owner.upgrade("business"))
    assert previewed["quota"]["includedUnits"] == upgraded["includedUnits"]


def _lower(owner: Owner) -> None:
    data(owner.downgrade("starter"))
    data(owner.keep_plan())


def _leave(owner: Owner) -> None:
    data(owner.cancel())
    data(owner.resume())
