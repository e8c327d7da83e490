"""Checkout, portal, set-up and invoice pages, as a customer meets them."""

from typing import Any

import pytest

from billing.stripe_gateway import StripeGateway, StripeRefused
from billing.stripe_gateway.transport import Json
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import DAY, Control

RETURN = "http://localhost/done"


def _checkout(gateway: StripeGateway, subscriber: Subscriber, **more: Any) -> Json:
    return gateway.create_checkout_session(
        customer_id=subscriber.customer_id,
        price_id=subscriber.price("starter"),
        org_id=subscriber.org_id,
        success_url=RETURN + "?session_id={CHECKOUT_SESSION_ID}",
        cancel_url="http://localhost/back",
        idempotency_key=subscriber.key(),
        **more,
    )


def test_checkout_makes_the_subscription_after_completion(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    session = _checkout(gateway, subscriber, trial_end=sandbox.now() + 14 * DAY)
    before = gateway.list_subscriptions(customer_id=subscriber.customer_id)

    status, html, _ = sandbox.page(session["url"])
    _, _, target = sandbox.page(session["url"], action="pay", card="pm_card_visa")

    done = gateway.retrieve_checkout_session(session_id=session["id"])
    [made] = gateway.list_subscriptions(customer_id=subscriber.customer_id)
    assert (before, status) == ([], 200)
    assert "Starter" in html
    assert target == f"{RETURN}?session_id={session['id']}"
    assert (done["status"], done["payment_status"]) == ("complete", "no_payment_required")
    assert (done["subscription"], done["url"]) == (made["id"], None)
    assert (made["status"], made["metadata"]["org_id"]) == ("trialing", subscriber.org_id)
    [event] = sandbox.events(session["id"], type_="checkout.session.completed")
    assert event["data"]["object"]["client_reference_id"] == subscriber.org_id


def test_checkout_without_a_trial_is_paid_even_where_the_bank_asks(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    session = _checkout(gateway, subscriber)

    sandbox.page(session["url"], action="pay", card="pm_card_authenticationRequired")

    done = gateway.retrieve_checkout_session(session_id=session["id"])
    assert done["payment_status"] == "paid"
    assert subscriber.invoiced() == [(1900, "paid")]


def test_a_declined_card_leaves_the_session_open(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    session = _checkout(gateway, subscriber)

    status, html, _ = sandbox.page(session["url"], action="pay", card="pm_card_chargeCustomerFail")

    assert status == 402
    assert "declined" in html
    assert gateway.retrieve_checkout_session(session_id=session["id"])["status"] == "open"
    assert gateway.list_subscriptions(customer_id=subscriber.customer_id) == []


def test_checkout_can_be_left_and_expires(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    left, late = _checkout(gateway, subscriber), _checkout(gateway, subscriber)

    _, _, target = sandbox.page(left["url"], action="cancel")
    expired = gateway.expire_checkout_session(session_id=left["id"], idempotency_key="e1")
    with pytest.raises(StripeRefused):
        gateway.expire_checkout_session(session_id=left["id"], idempotency_key="e2")
    sandbox.advance(hours=24)

    assert target == "http://localhost/back"
    assert (expired["status"], expired["url"]) == ("expired", None)
    assert gateway.retrieve_checkout_session(session_id=late["id"])["status"] == "expired"


def test_a_trial_shorter_than_two_days_is_refused(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    with pytest.raises(StripeRefused) as refused:
        _checkout(gateway, subscriber, trial_end=sandbox.now() + DAY)

    assert refused.value.param == "subscription_data[trial_end]"


def test_the_portal_sets_a_card(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    configuration = gateway.create_portal_configuration(name="cards", idempotency_key="pc")
    [listed] = gateway.list_portal_configurations()
    session = gateway.create_portal_session(
        customer_id=subscriber.customer_id,
        return_url=RETURN,
        configuration_id=configuration["id"],
        idempotency_key="ps",
    )

    _, _, back = sandbox.page(session["url"], action="pay", card="pm_card_mastercard")
    _, html, _ = sandbox.page(session["url"])
    refused, _, _ = sandbox.page(session["url"], action="cancel")
    stranger, _, _ = sandbox.page(session["url"].partition("?")[0])

    assert listed["id"] == configuration["id"]
    assert back == session["url"]
    assert "Mastercard •••• 4444" in html
    assert RETURN in html
    assert (refused, stranger) == (400, 404)


def test_a_portal_link_is_short_lived(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    configuration = gateway.create_portal_configuration(name="cards", idempotency_key="pc")
    session = gateway.create_portal_session(
        customer_id=subscriber.customer_id,
        return_url=RETURN,
        configuration_id=configuration["id"],
        idempotency_key="ps",
    )

    sandbox.advance(hours=1)

    assert sandbox.page(session["url"])[0] == 404


def test_an_open_invoice_is_paid_on_its_page(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe("pro")
    url = made["latest_invoice"]["hosted_invoice_url"]

    declined, _, _ = sandbox.page(url, action="pay", card="pm_card_chargeCustomerFail")
    sandbox.page(url, action="pay", card="pm_card_authenticationRequired")

    now = gateway.retrieve_subscription(subscription_id=made["id"])
    assert declined == 402
    assert (now["status"], subscriber.invoiced()) == ("active", [(9900, "paid")])
    assert now["default_payment_method"]


def test_a_setup_intent_keeps_a_card(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    plain = gateway.create_setup_intent(customer_id=subscriber.customer_id, idempotency_key="s1")
    asked = gateway.create_setup_intent(customer_id=subscriber.customer_id, idempotency_key="s2")

    done = gateway.confirm_setup_intent(
        setup_intent_id=plain["id"],
        payment_method_id="pm_card_mastercard",
        return_url=RETURN,
        idempotency_key="c1",
    )
    waiting = gateway.confirm_setup_intent(
        setup_intent_id=asked["id"],
        payment_method_id="pm_card_authenticationRequired",
        return_url=RETURN,
        idempotency_key="c2",
    )
    _, _, target = sandbox.page(waiting["next_action"]["redirect_to_url"]["url"], action="pay")

    assert plain["client_secret"].startswith(f"{plain['id']}_secret_")
    assert (done["status"], waiting["status"], target) == ("succeeded", "requires_action", RETURN)
    assert gateway.retrieve_setup_intent(setup_intent_id=asked["id"])["status"] == "succeeded"
    assert len(gateway.list_payment_methods(customer_id=subscriber.customer_id)) == 3
    assert sandbox.events(plain["id"], type_="setup_intent.succeeded")
