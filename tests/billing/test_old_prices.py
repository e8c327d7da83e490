"""A price that changes strands nobody: who subscribed at it keeps it, and every way on."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from billing import doctor
from billing.models import Plan, PlanPrice
from billing.money import price
from billing.portal.subscription import overview
from config.contract import clock
from config.contract.clients import clients
from quotas.queries import current_entitlement
from tests.billing.catalogues import plans, sync, write
from tests.billing.deals import (
    at_stripe,
    edit,
    kept_catalogue,
    key,
    make_price,
    make_product,
    prices_of,
    reprice,
)
from tests.billing.owners import Owner, new_owner, paid
from tests.contract.state import nothing_written
from tests.sandbox.server import Control
from tests.support.cast import data, error
from tests.webhooks.cast import deliver, work_off
from webhooks.models import WebhookEvent


@pytest.fixture(autouse=True)
def _catalogue(transactional_db: None) -> Iterator[None]:
    with kept_catalogue():
        yield


@pytest.fixture
def on_pro(owner: Owner) -> Owner:
    """An owner who pays 99.00 a month for pro."""
    data(owner.upgrade("pro"))
    return owner


def hear(sandbox: Control, owner: Owner) -> None:
    """Let every event of the subscription be worked on; none may be left."""
    for event in sandbox.events(owner.mirror.stripe_subscription_id):
        deliver(event)
    work_off()
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"processed"}


def test_who_is_on_a_plan_keeps_its_price_and_every_way_on(
    on_pro: Owner, sandbox: Control, tmp_path: Path
) -> None:
    [deal] = prices_of(on_pro)

    reprice(tmp_path, {"starter": 2900, "pro": 12_900, "business": 59_900})
    sandbox.travel(days=31, hours=2)
    hear(sandbox, on_pro)

    assert paid(sandbox) == [9900, 9900]
    assert (on_pro.mirror.plan_code, on_pro.mirror.stripe_price_id) == ("pro", deal)
    assert at_stripe(on_pro)["items"]["data"][0]["price"]["lookup_key"] is None
    assert data(on_pro.preview("pro"))["amount"] == 0
    assert data(on_pro.preview("business"))["amount"] > 0
    assert data(on_pro.downgrade("starter"))["newPlanCode"] == "starter"
    assert data(on_pro.keep_plan()) == {"cancelled": True}
    assert data(on_pro.cancel())["status"] == "active"
    assert data(on_pro.resume())["endsAt"] is None
    assert prices_of(on_pro) == [deal]
    assert data(on_pro.upgrade("business"))["planCode"] == "business"
    assert data(on_pro.cancel("now"))["status"] == "canceled"


def test_what_is_not_paid_loses_access_at_an_old_price_too(
    on_pro: Owner, sandbox: Control, tmp_path: Path
) -> None:
    sandbox.settings(dunning_outcome="unpaid")
    reprice(tmp_path, {"pro": 12_900})
    sandbox.fault("card_declined", count=-1)

    sandbox.travel(days=60)
    hear(sandbox, on_pro)

    assert on_pro.entitlements()["status"] == "unpaid"
    assert on_pro.use().status_code == 402


def test_a_price_that_is_set_back_is_the_old_one_sold_again(
    on_pro: Owner, sandbox: Control, tmp_path: Path
) -> None:
    [deal] = prices_of(on_pro)

    reprice(tmp_path, {"pro": 12_900})
    later = new_owner("Later")
    data(later.upgrade("pro"))
    reprice(tmp_path, {})
    latest = new_owner("Latest")
    data(latest.upgrade("pro"))

    assert prices_of(latest) == [deal] != prices_of(later)
    for owner in (on_pro, later, latest):
        owner.converge()
        assert owner.mirror.plan_code == "pro"
        assert data(owner.upgrade("business"))["planCode"] == "business"
    sold = PlanPrice.objects.filter(plan_code="pro", sold_until=None)
    assert [one.stripe_price_id for one in sold] == [deal]


def test_a_price_that_was_archived_is_sold_again_when_it_is_set_back(
    on_pro: Owner, sandbox: Control, tmp_path: Path
) -> None:
    [deal] = prices_of(on_pro)
    reprice(tmp_path, {"pro": 12_900})
    clients.stripe.update_price(price_id=deal, active=False, idempotency_key=key())

    data(on_pro.downgrade("starter"))
    data(on_pro.keep_plan())
    said = reprice(tmp_path, {})

    assert "Stripe: price pro at 9900 usd per period" in said
    assert sandbox.show(deal)["active"]
    assert Plan.objects.get(code="pro").stripe_price_id == deal
    assert data(new_owner("Latest").upgrade("pro"))["planCode"] == "pro"


def test_the_price_on_sale_that_was_archived_is_sold_again_by_the_next_sync(
    on_pro: Owner, sandbox: Control, tmp_path: Path
) -> None:
    [deal] = prices_of(on_pro)
    clients.stripe.update_price(price_id=deal, active=False, idempotency_key=key())

    reprice(tmp_path, {})

    assert sandbox.show(deal)["active"]
    assert data(new_owner("Latest").upgrade("pro"))["planCode"] == "pro"


def test_a_sale_remembers_the_price_it_was_made_at(on_pro: Owner) -> None:
    [deal] = prices_of(on_pro)

    row = PlanPrice.objects.get(stripe_price_id=deal)

    assert (row.plan_code, row.metric, row.unit_amount) == ("pro", "", Decimal(9900))
    assert (row.currency, row.interval, row.sold_until) == ("usd", "month", None)
    assert row.sold_since is not None


def test_prices_from_before_anything_was_remembered_are_found_by_their_product(
    on_pro: Owner, sandbox: Control
) -> None:
    silent = make_price("prod_pro", 7900)
    clients.stripe.update_price(price_id=silent["id"], active=False, idempotency_key=key())
    edit_to_archived(on_pro, silent["id"], sandbox)
    PlanPrice.objects.all().delete()
    on_pro.mirror.delete()

    hear_of(on_pro, sandbox)

    assert on_pro.mirror.plan_code == "pro"
    assert PlanPrice.objects.get(stripe_price_id=silent["id"]).unit_amount == 7900
    assert data(on_pro.upgrade("business"))["planCode"] == "business"


def edit_to_archived(owner: Owner, price_id: str, sandbox: Control) -> None:
    """Put the subscription on a price; it is archived again afterwards."""
    clients.stripe.update_price(price_id=price_id, active=True, idempotency_key=key())
    item = at_stripe(owner)["items"]["data"][0]["id"]
    edit(owner, {"id": item, "price": price_id})
    clients.stripe.update_price(price_id=price_id, active=False, idempotency_key=key())


def hear_of(owner: Owner, sandbox: Control) -> None:
    """Let the newest event of the organisation's subscription be worked on."""
    [event] = sandbox.events(type_="customer.subscription.updated")[-1:]
    deliver(event)
    work_off()
    assert WebhookEvent.objects.get().state == "processed"


def test_a_product_of_another_id_is_known_by_its_plan_code(on_pro: Owner) -> None:
    old = make_price(make_product("Pro, of old", plan_code="pro"), 5900)
    item = at_stripe(on_pro)["items"]["data"][0]["id"]
    edit(on_pro, {"id": item, "price": old["id"]})

    on_pro.converge()

    assert on_pro.mirror.plan_code == "pro"
    assert PlanPrice.objects.get(stripe_price_id=old["id"]).plan_code == "pro"


def test_the_sync_remembers_old_prices_and_lets_them_say_whose_they_are(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    silent = make_price("prod_pro", 7900)
    metered = make_price(
        "prod_business",
        1,
        unit_amount=None,
        unit_amount_decimal="0.04",
        recurring={"usage_type": "metered", "meter": "mtr_test_api_call"},
    )
    deal = make_price("prod_pro", 1, lookup_key="something-else")

    said = reprice(tmp_path, {})
    again = reprice(tmp_path, {})

    assert f"Stripe: plan_code pro on price {silent['id']}" in said
    assert "Stripe: 0 made" in again
    assert sandbox.show(silent["id"])["metadata"] == {"plan_code": "pro"}
    assert sandbox.show(metered["id"])["metadata"] == {
        "plan_code": "business",
        "metric": "api_call",
    }
    assert sandbox.show(deal["id"])["metadata"] == {}
    rows = {one.stripe_price_id: one for one in PlanPrice.objects.all()}
    assert rows[silent["id"]].sold_until is not None
    assert rows[metered["id"]].metric == "api_call"
    assert deal["id"] not in rows


def test_what_the_sync_makes_says_whose_it_is(owner: Owner, tmp_path: Path) -> None:
    reprice(tmp_path, {"business": 59_900}, overage="0.07")

    own = clients.stripe.find_price(lookup_key="business")
    overage = clients.stripe.find_price(lookup_key="business.api_call.overage")

    assert own["metadata"] == {"plan_code": "business"}
    assert overage["metadata"] == {"plan_code": "business", "metric": "api_call"}


def test_a_dry_run_makes_and_remembers_nothing(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    make_price("prod_pro", 7900)
    entries = plans()
    entries[1]["amount"] = 12_900
    file = write(tmp_path / "plans.json", entries)
    before = len(sandbox.objects("price"))

    with nothing_written():
        sync(file, "--stripe", "--dry-run")

    assert len(sandbox.objects("price")) == before


def test_dearer_and_cheaper_go_by_what_is_paid(on_pro: Owner, tmp_path: Path) -> None:
    reprice(tmp_path, {"pro": 79_900})

    refused = on_pro.downgrade("business")
    raised = on_pro.upgrade("business")

    # For 99.00 a month they are below business, whatever pro costs today.
    assert error(refused)["code"] == "PLAN_CHANGE_CONFLICT"
    assert data(raised)["planCode"] == "business"


def test_between_plans_that_cost_the_same_today_the_catalogue_decides(
    on_pro: Owner, tmp_path: Path
) -> None:
    reprice(tmp_path, {"pro": 12_900, "starter": 9900})

    refused = on_pro.upgrade("starter")
    lowered = on_pro.downgrade("starter")

    assert error(refused)["code"] == "PLAN_CHANGE_CONFLICT"
    assert data(lowered)["newPlanCode"] == "starter"


def test_the_page_shows_what_is_paid_and_offers_every_way_on(on_pro: Owner, tmp_path: Path) -> None:
    reprice(tmp_path, {"pro": 79_900})
    item = at_stripe(on_pro)["items"]["data"][0]["id"]
    edit(on_pro, {"id": item, "quantity": 2})
    on_pro.converge()
    current = current_entitlement(org_id=on_pro.id, now=clock.now())
    assert current is not None

    page = overview(current, now=clock.now())

    assert page.price == price(2 * 9900, "usd", "month")
    offers = {offer.code: (offer.way, offer.price) for offer in page.offers}
    assert offers == {
        "starter": ("downgrade", price(2 * 1900, "usd", "month")),
        "pro": (None, price(2 * 9900, "usd", "month")),
        "business": ("upgrade", price(2 * 49_900, "usd", "month")),
    }
    data(on_pro.upgrade("business"))


def test_the_overage_of_an_old_deal_goes_with_its_plan(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    data(owner.upgrade("business"))
    old = prices_of(owner)
    reprice(tmp_path, {"business": 59_900}, overage="0.07")

    owner.converge()
    data(owner.downgrade("pro"))
    sandbox.travel(days=32)
    owner.converge()

    assert len(old) == 2
    assert owner.mirror.plan_code == "pro"
    assert prices_of(owner) == [Plan.objects.get(code="pro").stripe_price_id]


def test_the_doctor_names_subscribers_on_prices_of_no_plan(owner: Owner, sandbox: Control) -> None:
    well = new_owner("Well")
    addon = make_price(make_product(), 500)
    edit(well, {"price": addon["id"]})
    item = at_stripe(owner)["items"]["data"][0]["id"]
    edit(owner, {"id": item, "price": addon["id"]})

    with nothing_written():
        named = [one.detail for one in doctor.examine() if "no plan" in one.what and not one.ok]

    assert len(named) == 1
    assert owner.id in named[0]
    assert owner.mirror.stripe_subscription_id in named[0]
    assert addon["id"] in named[0]
