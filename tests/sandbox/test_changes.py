"""Plan changes: what was previewed is what is charged; schedules; prorations to the cent."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.stripe_gateway import CardDeclined, StripeGateway, StripeRefused
from billing.stripe_gateway.transport import Json
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import DAY, Control


def _lines(invoice: Json) -> list[tuple[int, bool]]:
    return [
        (line["amount"], line["parent"]["subscription_item_details"]["proration"])
        for line in invoice["lines"]["data"]
    ]


def test_an_upgrade_charges_the_rest_of_the_period(
    sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    item = made["items"]["data"][0]
    at = item["current_period_start"] + 20 * DAY
    length = item["current_period_end"] - item["current_period_start"]
    sandbox.advance(to=at)

    shown = subscriber.preview(made, "pro", proration_date=at)
    changed = subscriber.change(made, "pro", proration_date=at)

    left = length - 20 * DAY
    credit, debit = -left * 1900 // length, left * 9900 // length
    assert _lines(shown) == [(credit, True), (debit, True)]
    assert shown["amount_due"] == credit + debit == changed["latest_invoice"]["amount_paid"]
    assert _lines(changed["latest_invoice"]) == _lines(shown)
    assert changed["items"]["data"][0]["id"] == item["id"]
    assert changed["items"]["data"][0]["current_period_end"] == item["current_period_end"]


def test_the_example_of_the_contract_to_the_cent() -> None:
    from fractions import Fraction

    from billing.sandbox.pricing import credit, debit, full

    old = {"billing_scheme": "per_unit", "unit_amount": 1001, "unit_amount_decimal": "1001"}
    new = {"billing_scheme": "per_unit", "unit_amount": 3003, "unit_amount_decimal": "3003"}

    assert credit(full(old, 1), Fraction(2, 3)) == -668
    assert debit(full(new, 1), Fraction(2, 3)) == 2002


def test_create_prorations_wait_for_the_renewal(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    sandbox.advance(days=10)
    shown = subscriber.preview(made, "pro", proration="create_prorations")

    subscriber.change(
        made,
        "pro",
        proration="create_prorations",
        proration_date=shown["lines"]["data"][0]["period"]["start"],
    )
    again = gateway.preview_renewal(subscription_id=made["id"])
    sandbox.advance(days=22)

    assert [proration for _, proration in _lines(shown)] == [True, True, False]
    assert again["total"] == shown["total"] == subscriber.invoiced()[0][0]


def test_without_proration_only_the_next_period_costs_more(
    sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    sandbox.advance(days=10)

    subscriber.change(made, "pro", proration="none")
    sandbox.advance(days=22)

    assert subscriber.invoiced() == [(9900, "paid"), (1900, "paid")]


def test_ending_the_trial_with_an_upgrade_bills_a_whole_period_now(
    sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe("starter", trial_days=14)
    sandbox.advance(days=3)

    shown = subscriber.preview(made, "pro", end_trial=True)
    changed = subscriber.change(made, "pro", end_trial=True)

    assert shown["amount_due"] == 9900 == changed["latest_invoice"]["amount_paid"]
    assert changed["status"] == "active"
    assert changed["billing_cycle_anchor"] == changed["trial_end"]


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ("pm_card_chargeCustomerFail", "card_declined"),
        ("pm_card_authenticationRequired", "authentication_required"),
        (None, "payment_method_required"),
    ],
)
def test_a_refused_payment_changes_nothing(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber, card: str | None, reason: str
) -> None:
    made = subscriber.subscribe_now("starter")
    sandbox.advance(days=3)
    if card is None:
        [only] = gateway.list_payment_methods(customer_id=subscriber.customer_id)
        gateway.detach_payment_method(payment_method_id=only["id"], idempotency_key="d")
    else:
        subscriber.use_card(card)
    before = gateway.retrieve_subscription(subscription_id=made["id"])
    events = len(sandbox.events())

    with pytest.raises(CardDeclined) as refused:
        subscriber.change(made, "pro")

    assert refused.value.reason == reason
    assert gateway.retrieve_subscription(subscription_id=made["id"]) == before
    assert len(sandbox.events()) == events


def test_allow_incomplete_changes_and_owes(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    sandbox.fault("card_declined")

    changed = subscriber.change(made, "pro", payment_behavior="allow_incomplete")

    assert changed["status"] == "past_due"
    assert changed["latest_invoice"]["status"] == "open"
    assert changed["latest_invoice"]["hosted_invoice_url"]


def test_pending_if_incomplete_waits_for_the_payment(
    gateway: StripeGateway, sandbox: Control, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("starter")
    sandbox.fault("card_declined")
    waiting = subscriber.change(made, "pro", payment_behavior="pending_if_incomplete")

    gateway.pay_invoice(invoice_id=waiting["latest_invoice"]["id"], idempotency_key="p")

    now = gateway.retrieve_subscription(subscription_id=made["id"])
    assert waiting["pending_update"]["expires_at"] > waiting["created"]
    assert waiting["items"]["data"][0]["price"]["lookup_key"] == "starter"
    assert now["items"]["data"][0]["price"]["lookup_key"] == "pro"
    assert now["pending_update"] is None


def test_a_credit_is_used_up_by_later_invoices(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("pro")
    changed = subscriber.change(made, "starter")
    credited = changed["latest_invoice"]["total"]

    sandbox.advance(days=31, hours=2)

    [renewal, *_] = subscriber.invoices()
    assert credited < 0
    assert (renewal["starting_balance"], renewal["amount_due"]) == (credited, 0)
    assert (
        gateway.retrieve_customer(customer_id=subscriber.customer_id)["balance"] == credited + 1900
    )


def test_a_scheduled_change_happens_at_the_end_of_the_period(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("pro")
    end = made["items"]["data"][0]["current_period_end"]

    schedule = gateway.schedule_change(
        subscription=made, price_id=subscriber.price("starter"), idempotency_key="s1"
    )
    during = gateway.retrieve_subscription(subscription_id=made["id"])
    sandbox.advance(to=end + 3601)

    after = gateway.retrieve_subscription(subscription_id=made["id"])
    assert during["schedule"] == schedule["id"]
    assert during["items"]["data"][0]["price"]["lookup_key"] == "pro"
    assert after["items"]["data"][0]["price"]["lookup_key"] == "starter"
    assert subscriber.invoiced() == [(1900, "paid"), (9900, "paid")]
    sandbox.advance(days=31)
    assert gateway.retrieve_schedule(schedule_id=schedule["id"])["status"] == "released"


def test_a_scheduled_change_can_be_rewritten_and_released(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe_now("business")
    first = gateway.schedule_change(
        subscription=made, price_id=subscriber.price("pro"), idempotency_key="s1"
    )
    attached = gateway.retrieve_subscription(subscription_id=made["id"])

    second = gateway.schedule_change(
        subscription=attached, price_id=subscriber.price("starter"), idempotency_key="s2"
    )
    with pytest.raises(StripeRefused):
        gateway.set_cancel_at_period_end(
            subscription_id=made["id"], cancel=True, idempotency_key="c"
        )
    released = gateway.release_schedule(schedule_id=first["id"], idempotency_key="r1")
    again = gateway.release_schedule(schedule_id=first["id"], idempotency_key="r2")

    assert second["id"] == first["id"]
    assert second["phases"][1]["items"][0]["price"] == subscriber.price("starter")
    assert released["released_subscription"] == made["id"]
    assert again["status"] == "released"
    assert gateway.retrieve_subscription(subscription_id=made["id"])["schedule"] is None


def test_a_scheduled_change_during_a_trial_takes_effect_when_it_ends(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    made = subscriber.subscribe("pro", trial_days=14)
    gateway.schedule_change(
        subscription=made, price_id=subscriber.price("starter"), idempotency_key="s1"
    )

    sandbox.advance(days=14, hours=2)

    now = gateway.retrieve_subscription(subscription_id=made["id"])
    assert now["status"] == "active"
    assert subscriber.invoiced() == [(1900, "paid"), (0, "paid")]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 6 * DAY),
            st.sampled_from(["starter", "pro", "business"]),
            st.sampled_from(["always_invoice", "create_prorations", "none"]),
            st.integers(1, 9),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_previewed_cents_are_invoiced_cents(
    sandbox: Control, gateway: StripeGateway, steps: list[tuple[int, str, str, int]]
) -> None:
    subscriber = Subscriber(gateway)
    current = subscriber.subscribe_now("pro")
    for seconds, plan, proration, quantity in steps:
        at = sandbox.advance(seconds=seconds)
        item = current["items"]["data"][0]
        same = (item["price"]["lookup_key"], item["quantity"]) == (plan, quantity)
        how: Json = {"proration": proration, "proration_date": at, "quantity": quantity}
        shown = subscriber.preview(current, plan, **how)
        before = len(subscriber.invoices())
        current = subscriber.change(current, plan, **how)
        made = len(subscriber.invoices()) - before
        if proration == "always_invoice" and not same:
            invoice = current["latest_invoice"]
            assert made == 1
            assert _lines(invoice) == _lines(shown)
            assert invoice["amount_due"] == shown["amount_due"]
        else:
            assert made == 0
            renewal = gateway.preview_renewal(subscription_id=current["id"])
            assert sorted(_lines(renewal)) == sorted(_lines(shown))
    upcoming = gateway.preview_renewal(subscription_id=current["id"])
    sandbox.advance(to=current["items"]["data"][0]["current_period_end"] + 3601)
    assert subscriber.invoices()[0]["amount_due"] == upcoming["amount_due"]
