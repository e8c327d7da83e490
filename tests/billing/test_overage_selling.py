"""Plans that allow overage are sold with a metered price, which a command makes."""

import io
from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.core.management import call_command

from billing import publishing
from billing.models import Plan, UnpricedOverage
from config.backoffice.dashboard.lights import State, lights
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.billing.catalogues import sync
from tests.billing.overages import (
    EACH,
    INCLUDED,
    charge,
    closed,
    january,
    on_business,
)
from tests.billing.owners import Owner, live_subscriptions, new_owner
from tests.sandbox.server import Control
from tests.support.cast import data, error


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """An owner on business since the tenth: a million calls a month, and then 20 for a cent."""
    return on_business(sandbox)


@pytest.fixture(autouse=True)
def _catalogue(transactional_db: None) -> Iterator[None]:
    """Leave the catalogue as it was."""
    yield
    sync()


def test_a_price_nobody_knows_waits_for_the_catalogue(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 1_000)
    plan = Plan.objects.get(code="business")
    plan.metrics.filter(metric="api_call").update(overage="block", overage_unit_amount=None)
    # Granted before prices were kept with what is granted.
    Entitlement.objects.filter(org_id=owner.id).update(overage_prices={})
    closed(sandbox)

    unpriced = charge()
    charge()
    finding = UnpricedOverage.objects.get()
    light = next(one for one in lights(now=clock.now()) if one.name == "Overage")
    plan.metrics.filter(metric="api_call").update(overage="allow", overage_unit_amount=EACH)
    priced = charge()

    assert (unpriced.found, priced.charged) == (0, 1)
    assert (finding.org_id, finding.units) == (owner.id, 1_000)
    assert (light.state, light.sentence[:2]) == (State.BAD, "1 ")
    assert not UnpricedOverage.objects.exists()


def test_business_is_sold_with_its_metered_price(owner: Owner, sandbox: Control) -> None:
    [made] = live_subscriptions(sandbox)
    data(owner.cancel("now"))
    data(owner.subscribe("business"))
    [again] = live_subscriptions(sandbox)

    for subscription in (made, again):
        keys = [item["price"]["lookup_key"] for item in subscription["items"]["data"]]
        assert keys == ["business", "business.api_call.overage"]
    assert owner.mirror.plan_code == "business"


def test_a_plan_whose_overage_has_no_price_is_not_sold(sandbox: Control) -> None:
    owner = new_owner()
    sold = Plan.objects.get(code="business").metrics
    sold.filter(metric="api_call").update(overage_unit_amount=Decimal("0.06"))

    refused = owner.upgrade("business")

    assert (refused.status_code, error(refused)["code"]) == (502, "STRIPE_ERROR")
    assert owner.mirror.plan_code == "starter"


def test_sync_plans_makes_at_stripe_what_is_missing(sandbox: Control) -> None:
    sold = Plan.objects.get(code="starter").metrics
    sold.filter(metric="compute_ms").update(overage="allow", overage_unit_amount=Decimal("0.007"))
    Plan.objects.filter(code="pro").update(amount=9_901)

    shown = list(publishing.publish(dry_run=True))
    made = list(publishing.publish(dry_run=False))
    again = list(publishing.publish(dry_run=False))

    assert (
        shown
        == made
        == [
            "meter compute_ms",
            "price starter.compute_ms.overage at 0.007 usd per unit",
            "price pro at 9901 usd per period",
        ]
    )
    assert again == []
    price = clients.stripe.find_price(lookup_key="starter.compute_ms.overage")
    assert price["recurring"]["usage_type"] == "metered"
    assert data(new_owner().upgrade("pro"))["planCode"] == "pro"


def test_the_commands_say_what_they_did(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 1_000)
    key = january()
    closed(sandbox)

    said = [run("charge_overage", "--dry-run"), run("charge_overage"), run("charge_overage")]

    assert said == [
        f"{owner.id} api_call {key}: 1000 units\n",
        "1 found, 1 charged, 0 waiting, 0 failed\n",
        "0 found, 0 charged, 0 waiting, 0 failed\n",
    ]
    assert run("sync_plans", "--stripe").endswith("Stripe: 0 made\n")


def run(name: str, *options: str) -> str:
    """Run a management command and return what it said."""
    out = io.StringIO()
    call_command(name, *options, stdout=out)
    return out.getvalue()
