"""What Stripe no longer has, or has in a form we do not know: a clear refusal, and convergence."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.models import Operation, Organization, Plan
from config.contract.clients import clients
from tests.billing.owners import Owner, live_subscriptions, new_owner, paid, schedules, unfinished
from tests.sandbox.server import Control
from tests.support.cast import data, error

CHANGES: dict[str, Callable[[Owner], Any]] = {
    "upgrade": lambda owner: owner.upgrade("business"),
    "downgrade": lambda owner: owner.downgrade("starter"),
    "resume": lambda owner: owner.resume(),
}
each_change = pytest.mark.parametrize("ask", CHANGES.values(), ids=CHANGES.keys())


def delete_customer(owner: Owner) -> None:
    """Delete the customer at Stripe, as staff might on the Dashboard."""
    clients.stripe._call(
        "customers.delete", lambda client: client.v1.customers.delete(owner.customer_id)
    )


def cancel_behind_our_back(owner: Owner) -> None:
    """End the subscription at Stripe, without a word to us."""
    clients.stripe.cancel_subscription(subscription_id=owner.mirror.stripe_subscription_id)


@each_change
@pytest.mark.parametrize("gone", [delete_customer, cancel_behind_our_back])
def test_what_ended_at_stripe_is_a_conflict_and_we_learn_of_it(
    owner: Owner, sandbox: Control, ask: Callable[[Owner], Any], gone: Callable[[Owner], None]
) -> None:
    owner.upgrade("pro")
    gone(owner)
    assert owner.entitlements()["status"] == "active"

    response = ask(owner)

    assert (response.status_code, error(response)["code"]) == (409, "PLAN_CHANGE_CONFLICT")
    assert owner.entitlements()["status"] == "canceled"
    assert owner.use().status_code == 402
    assert paid(sandbox) == [9900]
    assert unfinished() == 0


@pytest.mark.parametrize("at", ["now", "period_end"])
def test_cancelling_what_ended_at_stripe_says_so(owner: Owner, at: str) -> None:
    cancel_behind_our_back(owner)

    answer = data(owner.cancel(at))

    assert answer["status"] == "canceled"
    assert answer["endsAt"] is not None


def test_a_preview_of_what_ended_at_stripe_is_a_conflict(owner: Owner) -> None:
    cancel_behind_our_back(owner)

    response = owner.preview("pro")

    assert (response.status_code, error(response)["code"]) == (409, "PLAN_CHANGE_CONFLICT")


def test_a_subscription_that_stripe_never_had_is_over(owner: Owner) -> None:
    mirror = owner.mirror
    mirror.stripe_subscription_id = "sub_of_another_account"
    mirror.save()

    response = owner.upgrade("pro")

    assert (response.status_code, error(response)["code"]) == (409, "PLAN_CHANGE_CONFLICT")
    assert error(owner.preview("pro"))["code"] == "PLAN_CHANGE_CONFLICT"
    assert owner.entitlements()["status"] == "canceled"


def test_a_deleted_customer_is_not_made_again(owner: Owner, sandbox: Control) -> None:
    delete_customer(owner)

    subscribed = owner.subscribe("pro")
    setup = owner.post("/api/payments/setup", {"orgId": owner.id})
    portal = owner.post("/api/payments/portal", {"orgId": owner.id})
    invoices = owner.get("/api/invoices")

    assert (subscribed.status_code, error(subscribed)["code"]) == (409, "PLAN_CHANGE_CONFLICT")
    assert (setup.status_code, error(setup)["code"]) == (404, "NOT_FOUND")
    assert (portal.status_code, error(portal)["code"]) == (404, "NOT_FOUND")
    assert invoices.status_code in (200, 404)
    assert len(sandbox.objects("customer")) == 1
    assert live_subscriptions(sandbox) == []
    assert unfinished() == 0


def test_a_price_that_stripe_does_not_have_is_502_and_nothing_is_left_over(
    owner: Owner, sandbox: Control
) -> None:
    Plan.objects.filter(code="pro").update(amount=9901)
    try:
        upgraded, previewed = owner.upgrade("pro"), owner.preview("pro")
    finally:
        Plan.objects.filter(code="pro").update(amount=9900)

    assert (upgraded.status_code, error(upgraded)["code"]) == (502, "STRIPE_ERROR")
    assert (previewed.status_code, error(previewed)["code"]) == (502, "STRIPE_ERROR")
    assert unfinished() == 0
    assert data(owner.upgrade("pro"))["planCode"] == "pro"
    assert paid(sandbox) == [9900]


@pytest.mark.parametrize(
    ("ask", "again"),
    [
        (lambda owner: owner.upgrade("business"), lambda owner: owner.upgrade("business")),
        (lambda owner: owner.preview("business"), lambda owner: owner.preview("business")),
    ],
    ids=["upgrade", "preview"],
)
def test_a_price_id_that_went_stale_is_asked_for_again(
    owner: Owner, ask: Callable[[Owner], Any], again: Callable[[Owner], Any]
) -> None:
    owner.upgrade("pro")
    Plan.objects.filter(code="business").update(stripe_price_id="price_gone")

    refused = ask(owner)

    assert (refused.status_code, error(refused)["code"]) == (502, "STRIPE_ERROR")
    assert unfinished() == 0
    assert again(owner).status_code == 200


def test_a_refused_upgrade_puts_the_downgrade_back(owner: Owner, sandbox: Control) -> None:
    owner.upgrade("pro")
    promised = data(owner.downgrade("starter"))
    Plan.objects.filter(code="business").update(stripe_price_id="price_gone")

    refused = owner.upgrade("business")

    assert refused.status_code == 502
    assert owner.entitlements()["scheduledChange"] == promised
    assert len(schedules(sandbox)) == 1
    assert data(owner.upgrade("business"))["planCode"] == "business"
    assert schedules(sandbox) == []


def test_the_same_key_asks_anew_after_a_refusal_that_was_mended(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    Plan.objects.filter(code="business").update(stripe_price_id="price_gone")
    refused = owner.upgrade("business", key="k")

    mended = owner.upgrade("business", key="k")

    assert refused.status_code == 502
    assert data(mended)["planCode"] == "business"
    assert Operation.objects.filter(kind="upgrade", request__newPlanCode="business").count() == 1
    assert len(paid(sandbox)) == 2


def test_a_subscription_on_a_price_of_no_plan_is_502_until_it_is_on_one_again(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    stranger = clients.stripe.create_price(
        product_id="prod_pro",
        lookup_key="by-hand",
        amount="12345",
        currency="usd",
        interval="month",
        idempotency_key="by-hand",
    )
    move(owner, stranger["id"], "there")

    refused = owner.upgrade("business")

    assert (refused.status_code, error(refused)["code"]) == (502, "STRIPE_ERROR")
    assert owner.entitlements()["planCode"] == "pro"
    assert unfinished() == 0
    move(owner, Plan.objects.get(code="pro").stripe_price_id, "back")
    assert data(owner.upgrade("business"))["planCode"] == "business"


def test_access_ends_with_a_subscription_on_a_price_of_no_plan(owner: Owner) -> None:
    stranger = clients.stripe.create_price(
        product_id="prod_pro",
        lookup_key="by-hand",
        amount="12345",
        currency="usd",
        interval="month",
        idempotency_key="by-hand",
    )
    move(owner, stranger["id"], "there")
    cancel_behind_our_back(owner)

    owner.converge()

    assert owner.entitlements()["status"] == "canceled"


def move(owner: Owner, price_id: str, how: str) -> None:
    """Put the subscription on a price, as staff might on the Dashboard."""
    mirror = owner.mirror
    clients.stripe.change_subscription(
        subscription_id=mirror.stripe_subscription_id,
        item_id=mirror.stripe_item_id,
        price_id=price_id,
        proration="none",
        idempotency_key=f"{mirror.stripe_subscription_id}:{how}",
    )


def test_subscribing_closes_a_checkout_page_that_is_still_open(
    transactional_db: None, sandbox: Control
) -> None:
    owner = new_owner(checkout=True)
    [session] = sandbox.objects("checkout.session")

    subscribed = data(owner.subscribe("pro"))
    sandbox.page(session["url"], action="pay")

    assert (subscribed["status"], subscribed["planCode"]) == ("active", "pro")
    assert sandbox.show(session["id"])["status"] == "expired"
    assert len(live_subscriptions(sandbox)) == 1


def test_subscribing_after_checkout_was_completed_is_a_conflict(
    transactional_db: None, sandbox: Control
) -> None:
    owner = new_owner(checkout=True)
    [session] = sandbox.objects("checkout.session")
    sandbox.page(session["url"], action="pay")

    response = owner.subscribe("pro")

    assert (response.status_code, error(response)["code"]) == (409, "PLAN_CHANGE_CONFLICT")
    assert len(live_subscriptions(sandbox)) == 1


def test_an_organisation_that_billing_does_not_know_is_not_found(owner: Owner) -> None:
    Organization.objects.filter(org_id=owner.id).update(org_id="org_somebody_else")

    response = owner.subscribe("pro")

    assert (response.status_code, error(response)["code"]) == (404, "NOT_FOUND")
    assert unfinished() == 0
