"""Subscriptions from trial to end, as time passes."""

import pytest

from billing.stripe_gateway import CardDeclined, StripeGateway, StripeRefused
from billing.stripe_gateway.transport import Json
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control


def test_a_trial_bills_nothing_and_then_the_first_period(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe("starter", trial_days=14)
    sandbox.advance(days=14, hours=2)

    now = gateway.retrieve_subscription(subscription_id=made["id"])
    assert made["status"] == "trialing"
    assert made["latest_invoice"]["total"] == 0
    assert now["status"] == "active"
    assert now["items"]["data"][0]["current_period_start"] == made["trial_end"]
    assert subscriber.invoiced() == [(1900, "paid"), (0, "paid")]
    assert sandbox.events(made["id"], type_="customer.subscription.trial_will_end")


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "past_due")],
)
def test_a_trial_without_a_card_ends_as_its_settings_say(
    sandbox: Control, gateway: StripeGateway, behavior: str, status: str
) -> None:
    sandbox.settings(auto_card=False)
    subscriber = Subscriber(gateway)
    made = subscriber.subscribe("starter", trial_days=14, on_missing_payment_method=behavior)
    sandbox.advance(days=14, hours=2)

    now = gateway.retrieve_subscription(subscription_id=made["id"])

    assert made["pending_setup_intent"]["status"] == "requires_payment_method"
    assert now["status"] == status


def test_a_paused_subscription_resumes_with_a_card(
    sandbox: Control, gateway: StripeGateway
) -> None:
    sandbox.settings(auto_card=False)
    subscriber = Subscriber(gateway)
    made = subscriber.subscribe("starter", trial_days=14)
    sandbox.advance(days=15)
    with pytest.raises(CardDeclined) as refused:
        gateway.resume_subscription(subscription_id=made["id"], idempotency_key="r1")
    subscriber.use_card("pm_card_visa")

    resumed = gateway.resume_subscription(subscription_id=made["id"], idempotency_key="r2")

    assert refused.value.reason == "payment_method_required"
    assert (resumed["status"], resumed["billing_cycle_anchor"]) == ("active", sandbox.now())
    assert sandbox.events(made["id"], type_="customer.subscription.resumed")


def test_without_a_trial_the_first_invoice_waits_for_the_customer(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe("pro")

    secret = made["latest_invoice"]["confirmation_secret"]["client_secret"]
    assert (made["status"], secret.startswith("pi_")) == ("incomplete", True)
    sandbox.advance(hours=24)
    ended = gateway.retrieve_subscription(subscription_id=made["id"])
    assert ended["status"] == "incomplete_expired"
    assert subscriber.invoiced() == [(9900, "void")]


def test_paying_the_first_invoice_activates(gateway: StripeGateway, subscriber: Subscriber) -> None:
    made = subscriber.subscribe("pro")

    gateway.pay_invoice(invoice_id=made["latest_invoice"]["id"], idempotency_key="pay")

    assert gateway.retrieve_subscription(subscription_id=made["id"])["status"] == "active"


def test_a_declined_first_payment_leaves_nothing(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    sandbox.fault("card_declined")

    with pytest.raises(CardDeclined) as refused:
        subscriber.subscribe("pro", payment_behavior="error_if_incomplete")

    assert refused.value.details == {"reason": "card_declined"}
    assert gateway.list_subscriptions(customer_id=subscriber.customer_id) == []


def test_renewals_keep_the_anchor_and_the_31st_comes_back(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    sandbox.advance(to=1_801_353_600)  # 2027-01-31T00:00:00Z
    made = subscriber.subscribe_now("starter")
    ends = []
    for _ in range(4):
        item = gateway.retrieve_subscription(subscription_id=made["id"])["items"]["data"][0]
        ends.append(item["current_period_end"])
        sandbox.advance(to=item["current_period_end"] + 3601)

    assert [_day(end) for end in ends] == ["02-28", "03-31", "04-30", "05-31"]
    assert subscriber.invoiced() == [(1900, "paid")] * 5


@pytest.mark.parametrize("outcome", ["canceled", "unpaid", "past_due"])
def test_dunning_ends_as_the_account_is_set(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber, outcome: str
) -> None:
    sandbox.settings(dunning_outcome=outcome)
    made = subscriber.subscribe_now("starter")
    sandbox.fault("card_declined", count=-1)

    sandbox.advance(days=31, hours=2)
    first = gateway.retrieve_subscription(subscription_id=made["id"])["status"]
    sandbox.advance(days=16)

    assert first == "past_due"
    last = gateway.retrieve_subscription(subscription_id=made["id"])
    assert last["status"] == outcome
    assert len(sandbox.events(last["latest_invoice"], type_="invoice.payment_failed")) == 4


def test_paying_what_is_past_due_reactivates(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    sandbox.fault("card_declined")
    sandbox.advance(days=31, hours=2)
    owing = gateway.retrieve_subscription(subscription_id=made["id"])

    gateway.pay_invoice(invoice_id=owing["latest_invoice"], idempotency_key="pay")

    assert owing["status"] == "past_due"
    assert gateway.retrieve_subscription(subscription_id=made["id"])["status"] == "active"


def test_cancelling_at_period_end_can_be_taken_back(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    end = made["items"]["data"][0]["current_period_end"]

    wanted = gateway.set_cancel_at_period_end(
        subscription_id=made["id"], cancel=True, idempotency_key="c1"
    )
    kept = gateway.set_cancel_at_period_end(
        subscription_id=made["id"], cancel=False, idempotency_key="c2"
    )
    gateway.set_cancel_at_period_end(subscription_id=made["id"], cancel=True, idempotency_key="c3")
    sandbox.advance(to=end)

    assert (wanted["cancel_at"], kept["cancel_at"]) == (end, None)
    ended = gateway.retrieve_subscription(subscription_id=made["id"])
    assert (ended["status"], ended["ended_at"]) == ("canceled", end)


def test_a_cancelled_subscription_stays_cancelled(
    gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")

    ended = gateway.cancel_subscription(subscription_id=made["id"])

    assert ended["status"] == "canceled"
    with pytest.raises(StripeRefused):
        gateway.cancel_subscription(subscription_id=made["id"])
    with pytest.raises(StripeRefused):
        gateway.end_trial(subscription_id=made["id"], idempotency_key="late")


def test_use_is_billed_at_the_end_of_the_period(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    overage = gateway.find_price(lookup_key="business.api_call.overage")
    assert overage is not None
    subscriber.subscribe_now("business", metered_price_ids=[overage["id"]])
    event: Json = {
        "event_name": "api_call",
        "customer_id": subscriber.customer_id,
        "value": 12_345,
        "timestamp": sandbox.now(),
    }
    gateway.create_meter_event(**event, identifier="m1", idempotency_key="m1")
    with pytest.raises(StripeRefused):
        gateway.create_meter_event(**event, identifier="m1", idempotency_key="m2")

    sandbox.advance(days=31, hours=2)

    # 12345 × 0.05 cents = 617.25, and the next month in advance.
    assert subscriber.invoiced()[0] == (617 + 49900, "paid")


def test_deleting_a_customer_ends_what_it_has(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")

    subscriber.delete_customer()

    assert sandbox.show(made["id"])["status"] == "canceled"
    assert gateway.retrieve_customer(customer_id=subscriber.customer_id)["deleted"] is True


def _day(timestamp: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(timestamp, UTC).strftime("%m-%d")
