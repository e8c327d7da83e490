"""Overage by the subscription's meter, or by an invoice of its own where it carries none."""

import pytest

from billing import operations
from billing.models import Operation
from billing.overage import due
from config.contract import clock
from config.contract.clients import clients
from tests.billing.overages import (
    INCLUDED,
    charge,
    closed,
    january,
    metered_lines,
    on_business,
    overage_of,
    until,
)
from tests.billing.owners import Owner, live_subscriptions
from tests.sandbox.server import Control
from tests.support.cast import data


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """An owner on business since the tenth: a million calls a month, and then 20 for a cent."""
    return on_business(sandbox)


def test_after_a_downgrade_it_is_charged_by_an_invoice_of_its_own(
    owner: Owner, sandbox: Control
) -> None:
    until(sandbox, 2, 5)
    owner.use(INCLUDED + 3_000)
    key = f"{clock.now().year}-02"
    data(owner.downgrade("starter"))
    until(sandbox, 3, 5)
    owner.converge()

    charge()
    until(sandbox, 3, 6)

    assert owner.mirror.plan_code == "starter"
    assert overage_of(owner, key) == 3_000
    assert metered_lines(sandbox, owner) == [(3_000, 150)]
    paid = [one for one in sandbox.objects("invoice") if one["billing_reason"] == "manual"]
    assert [(one["status"], one["amount_paid"]) for one in paid] == [("paid", 150)]


def test_a_cancelled_organisation_still_pays_what_it_used(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 3_000)
    data(owner.cancel("now"))
    closed(sandbox)

    done = charge()
    until(sandbox, 2, 5)

    assert done.charged == 1
    assert live_subscriptions(sandbox) == []
    assert metered_lines(sandbox, owner) == [(3_000, 150)]


def test_use_that_was_reported_is_billed_when_the_subscription_ends(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 3_000)
    closed(sandbox)
    charge()

    data(owner.cancel("now"))
    until(sandbox, 2, 11)

    assert metered_lines(sandbox, owner) == [(3_000, 150)]


def test_use_that_was_reported_is_billed_when_the_downgrade_takes_effect(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 3_000)
    data(owner.downgrade("starter"))
    closed(sandbox)
    charge()

    until(sandbox, 2, 11)
    owner.converge()

    assert owner.mirror.plan_code == "starter"
    assert metered_lines(sandbox, owner) == [(3_000, 150)]
    [held] = live_subscriptions(sandbox)
    assert len(held["items"]["data"]) == 1


def test_two_periods_found_at_once_are_each_charged_as_their_statement_says(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 10)
    until(sandbox, 2, 10)
    owner.use(INCLUDED + 10)
    until(sandbox, 3, 9)

    done = charge()
    until(sandbox, 3, 11)

    # Half a cent each: summed up at Stripe it would be one cent, and not two.
    assert done.charged == 2
    assert metered_lines(sandbox, owner) == [(10, 1), (10, 1)]


def test_a_deleted_customer_is_given_up(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 10)
    clients.stripe._call("customers.delete", lambda c: c.v1.customers.delete(owner.customer_id))
    closed(sandbox)

    done = charge()

    assert done.failed == 1
    assert Operation.objects.get(kind="overage").result == {"reason": "customer_deleted"}


def test_what_others_left_waiting_for_the_customer_is_not_billed_with_it(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 3_000)
    data(owner.cancel("now"))
    closed(sandbox)
    theirs = waiting_item(owner, 7_777)

    charge()
    until(sandbox, 2, 5)

    [own] = [one for one in sandbox.objects("invoice") if one["billing_reason"] == "manual"]
    assert (own["status"], own["amount_paid"], len(own["lines"]["data"])) == ("paid", 150, 1)
    assert sandbox.show(theirs)["invoice"] is None


def test_an_invoice_item_of_an_earlier_version_is_not_made_twice(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 3_000)
    data(owner.cancel("now"))
    closed(sandbox)
    due.write_down(now=clock.now())
    operation = Operation.objects.get(kind="overage")
    waiting_item(owner, 150, operation=str(operation.uuid))
    operations.note(operation, way="invoice")

    done = charge()

    assert done.charged == 1
    assert len(sandbox.objects("invoiceitem")) == 1


@pytest.mark.usefixtures("annual_plans")
def test_a_month_of_an_annual_plan_is_charged_once_it_is_closed(sandbox: Control) -> None:
    owner = on_business(sandbox)
    # A month at a time: what is used in the first is not on the second's invoice.
    data(owner.cancel("now"))
    data(owner.subscribe("business_annual"))
    [held] = live_subscriptions(sandbox)
    assert len(held["items"]["data"]) == 1
    owner.use(INCLUDED + 3_000)
    key = january()

    charged = []
    for month, used in ((2, 1_000), (3, 0), (4, 500)):
        until(sandbox, month, 4)
        charge()
        until(sandbox, month, 5)
        charged.append(metered_lines(sandbox, owner))
        owner.use(INCLUDED + used)

    assert overage_of(owner, key) == 3_000
    assert charged == [[(3_000, 150)], [(3_000, 150), (1_000, 50)], [(3_000, 150), (1_000, 50)]]
    own = [one for one in sandbox.objects("invoice") if one["billing_reason"] == "manual"]
    assert [(one["status"], one["amount_paid"]) for one in own] == [("paid", 150), ("paid", 50)]


@pytest.mark.usefixtures("annual_plans")
def test_a_metered_price_of_a_year_is_not_what_charges_a_month(sandbox: Control) -> None:
    owner = on_business(sandbox)
    [meter] = clients.stripe.list_meters()
    yearly = clients.stripe.create_price(
        product_id="prod_business_annual",
        lookup_key="by-hand",
        amount="0.05",
        currency="usd",
        interval="year",
        meter_id=meter["id"],
        idempotency_key="yearly",
    )
    data(owner.cancel("now"))
    data(owner.subscribe("business_annual"))
    running = owner.mirror.stripe_subscription_id
    clients.stripe._call(
        "subscriptions.update",
        lambda c: c.v1.subscriptions.update(running, {"items": [{"price": yearly["id"]}]}),
    )
    owner.use(INCLUDED + 3_000)
    closed(sandbox)

    charge()
    until(sandbox, 2, 5)

    assert Operation.objects.filter(kind="overage", result__way="invoice").exists()
    assert metered_lines(sandbox, owner) == [(3_000, 150)]


def waiting_item(owner: Owner, cents: int, **metadata: str) -> str:
    """Let somebody put an amount on the customer's next invoice, by the Dashboard."""
    made = clients.stripe._call(
        "invoice_items.create",
        lambda c: c.v1.invoice_items.create(
            {
                "customer": owner.customer_id,
                "currency": "usd",
                "unit_amount_decimal": str(cents),
                "quantity": 1,
                "metadata": metadata,
            }
        ),
    )
    found: str = made["id"]
    return found
