"""Subscribers and price changes, many of both: nobody's deal changes, and nobody is stranded."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing import convergence, doctor, prices
from billing.models import Organization, Plan, PlanPrice, Subscription
from billing.overage.deal import Stored, overage_prices
from config.contract import clock
from config.contract.clients import clients
from config.contract.ids import new_id
from tests.billing.catalogues import plans
from tests.billing.deals import kept_catalogue, reprice
from tests.billing.owners import Owner
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control
from tests.support.cast import data
from tests.support.length import Length
from tests.webhooks.cast import deliver, work_off
from tokens import scopes
from tokens.services import activate, issue_code
from webhooks.models import WebhookEvent

CHANGES = 20
CODES = ("starter", "pro", "business")


@pytest.fixture(autouse=True)
def _catalogue(transactional_db: None) -> Iterator[None]:
    with kept_catalogue():
        yield


def shuffled_amounts(chance: random.Random, earlier: list[dict[str, int]]) -> dict[str, int]:
    """Return what the plans cost from now on: something new, or what they did before."""
    if earlier and chance.random() < 0.3:
        return chance.choice(earlier)
    shipped = {entry["planCode"]: entry["amount"] for entry in plans()}
    return {code: amount + 100 * chance.randint(-9, 30) for code, amount in shipped.items()}


def subscribe(plan: Plan) -> tuple[str, str]:
    """Subscribe a new organisation at today's price; returns it and that price."""
    gateway = clients.stripe
    subscriber = Subscriber(gateway)
    Organization.objects.create(
        org_id=subscriber.org_id,
        name="Acme",
        email="owner@acme.example",
        stripe_customer_id=subscriber.customer_id,
        created_at=clock.now(),
    )
    made = gateway.create_subscription(
        customer_id=subscriber.customer_id,
        price_id=prices.price_id(plan),
        metered_price_ids=prices.metered_price_ids(plan),
        org_id=subscriber.org_id,
        payment_behavior="error_if_incomplete",
        idempotency_key=subscriber.key(),
    )
    # Nothing is heard of it here until it renews.
    return subscriber.org_id, str(convergence.plan_item(made)["price"]["id"])


def owner_of(org_id: str) -> Owner:
    """Let the owner in."""
    now, code = clock.real_now(), new_id("code")
    issue_code(org_id=org_id, code=code, scopes=scopes.OWNER, issued_by="test", now=now)
    return Owner(org_id, activate(code=code, domain=None, now=now))


def hear_of_renewals(sandbox: Control) -> None:
    """Let what Stripe last said of each subscription be worked on."""
    newest = {
        event["data"]["object"]["id"]: event
        for event in sandbox.events(type_="customer.subscription.updated")
    }
    for event in newest.values():
        deliver(event)
    work_off()


def change_and_leave(owner: Owner, mirror: Subscription, code: str) -> None:
    """Preview another plan and move to it, whichever way that is; then cancel and resume."""
    current, target = mirror.plan(), Plan.objects.get(code=code)
    assert current is not None
    data(owner.preview(code))
    if target.is_dearer_than(current):
        assert data(owner.upgrade(code))["planCode"] == code
    else:
        assert data(owner.downgrade(code))["newPlanCode"] == code
    assert data(owner.cancel())["endsAt"] is not None


@pytest.mark.torture
def test_a_thousand_subscribers_keep_their_deal_through_twenty_price_changes(
    sandbox: Control, tmp_path: Path, length: Length
) -> None:
    chance = random.Random(20)
    subscribers = length.of(12, 1_000)
    deals: dict[str, tuple[str, str, Stored]] = {}
    amounts: dict[str, int] = {}
    history: list[dict[str, int]] = []
    for number in range(CHANGES):
        history.append(shuffled_amounts(chance, history))
        reprice(tmp_path, history[-1], overage=f"0.{chance.randint(1, 99):02}")
        share = subscribers * (number + 1) // CHANGES - subscribers * number // CHANGES
        for _ in range(share):
            plan = Plan.objects.prefetch_related("metrics").get(code=chance.choice(CODES))
            org_id, price_id = subscribe(plan)
            deals[org_id] = plan.code, price_id, overage_prices(plan)
            amounts[org_id] = plan.amount
        sandbox.travel(days=1)
    old = PlanPrice.objects.exclude(sold_until=None).values_list("stripe_price_id", flat=True)
    for price_id in chance.sample(sorted(old), len(old) // 3):
        clients.stripe.update_price(price_id=price_id, active=False, idempotency_key=new_id("key"))

    for _ in range(CHANGES, 33 + CHANGES):
        # Day by day: each brings the renewals of those who subscribed a month before.
        sandbox.travel(days=1)
    hear_of_renewals(sandbox)

    assert len(deals) == subscribers
    assert not WebhookEvent.objects.exclude(state="processed").exists()
    mirrors = {mirror.org_id: mirror for mirror in Subscription.objects.all()}
    assert {
        org_id: (mirror.plan_code, mirror.stripe_price_id, mirror.overage_prices)
        for org_id, mirror in mirrors.items()
    } == deals
    customers = dict(Organization.objects.values_list("org_id", "stripe_customer_id"))
    charged: dict[str, list[int]] = {}
    for invoice in sandbox.objects("invoice"):
        charged.setdefault(invoice["customer"], []).append(invoice["amount_paid"])
    for org_id, amount in amounts.items():
        assert charged[customers[org_id]] == [amount, amount]

    for org_id, (code, _, _) in deals.items():
        target = chance.choice([other for other in CODES if other != code])
        change_and_leave(owner_of(org_id), mirrors[org_id], target)
    assert not [one for one in doctor.examine() if "no plan" in one.what and not one.ok]
