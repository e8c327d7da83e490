"""What each kind of event comes to."""

from typing import Any

import pytest

from billing import convergence
from billing.models import InvoiceRef, Organization, Subscription
from billing.stripe_gateway import StripeGateway
from quotas.models import Entitlement
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tests.webhooks.cast import an_event, deliver, mirror, sign_up, work_off
from tests.webhooks.lives import Life, known
from webhooks.handlers import HANDLERS
from webhooks.models import WebhookEvent
from webhooks.replay import replay

pytestmark = pytest.mark.django_db(transaction=True)
RETURN = "http://localhost/done"


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    return sign_up()


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose subscription begins as a trial; no event has arrived yet."""
    return Life(gateway)


def tell(sandbox: Control, type_: str, object_id: str | None = None) -> Any:
    """Deliver the newest event of a type, and nothing else; work it off."""
    event = sandbox.events(object_id, type_=type_)[-1]
    deliver(event)
    work_off()
    row = WebhookEvent.objects.get(event_id=event["id"])
    assert row.state == "processed", row.error
    return event


def test_the_issue_names_these_types_and_all_are_handled() -> None:
    named = {
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "customer.updated",
        "customer.deleted",
        *(
            f"customer.subscription.{what}"
            for what in ("created", "updated", "deleted", "paused", "resumed", "trial_will_end")
        ),
        *(
            f"invoice.{what}"
            for what in (
                "finalized",
                "paid",
                "payment_failed",
                "voided",
                "marked_uncollectible",
            )
        ),
        "setup_intent.succeeded",
        *(
            f"subscription_schedule.{what}"
            for what in (
                "created",
                "updated",
                "released",
                "canceled",
                "completed",
                "aborted",
                "expiring",
            )
        ),
    }

    assert named <= set(HANDLERS)


# Schedules


def test_a_schedule_event_alone_makes_the_scheduled_change_known(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    life.subscriber.change(life.subscription, "pro", end_trial=True)
    gateway.schedule_change(
        subscription=gateway.retrieve_subscription(subscription_id=life.id),
        price_id=life.subscriber.price("starter"),
        idempotency_key=life.subscriber.key(),
    )

    tell(sandbox, "subscription_schedule.updated")

    assert Entitlement.objects.get(org_id=life.org_id).scheduled_plan_code == "starter"


def test_the_release_of_a_schedule_makes_the_change_forgotten(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    life.subscriber.change(life.subscription, "pro", end_trial=True)
    schedule = gateway.schedule_change(
        subscription=gateway.retrieve_subscription(subscription_id=life.id),
        price_id=life.subscriber.price("starter"),
        idempotency_key=life.subscriber.key(),
    )
    tell(sandbox, "subscription_schedule.updated")

    gateway.release_schedule(schedule_id=schedule["id"], idempotency_key="release")
    tell(sandbox, "subscription_schedule.released")

    entitlement = Entitlement.objects.get(org_id=life.org_id)
    assert (entitlement.scheduled_plan_code, entitlement.scheduled_at) == ("", None)


# Checkout


def test_a_completed_checkout_links_the_subscription_it_made(sandbox: Control) -> None:
    owner = sign_up(checkout=True)
    [session] = sandbox.objects("checkout.session")
    sandbox.page(session["url"], action="pay", card="pm_card_visa")

    event = tell(sandbox, "checkout.session.completed")

    [at_stripe] = sandbox.objects("subscription")
    assert mirror(owner).stripe_subscription_id == at_stripe["id"]
    assert mirror(owner).status == "trialing"
    assert WebhookEvent.objects.get(event_id=event["id"]).org_id == owner.id


def test_an_expired_checkout_changes_nothing(sandbox: Control, gateway: StripeGateway) -> None:
    owner = sign_up(checkout=True)
    [session] = sandbox.objects("checkout.session")
    gateway.expire_checkout_session(session_id=session["id"], idempotency_key="e")

    tell(sandbox, "checkout.session.expired")

    assert not Subscription.objects.exists()
    assert Entitlement.objects.get(org_id=owner.id).status == "trialing"


# Customers


def test_a_customer_changed_at_stripe_is_taken_over(
    owner: Org, sandbox: Control, gateway: StripeGateway
) -> None:
    organization = Organization.objects.get(org_id=owner.id)
    gateway.ensure_customer(
        org_id=owner.id,
        email="new@acme.example",
        name="New",
        customer_id=organization.stripe_customer_id,
        idempotency_key="k",
    )

    event = tell(sandbox, "customer.updated")

    organization.refresh_from_db()
    assert (organization.email, organization.name) == ("new@acme.example", "New")
    assert WebhookEvent.objects.get(event_id=event["id"]).org_id == owner.id


def test_a_deleted_customer_takes_its_subscription_along(life: Life, sandbox: Control) -> None:
    tell(sandbox, "customer.subscription.created")
    life.subscriber.delete_customer()

    tell(sandbox, "customer.deleted")

    assert known(life.id)["entitled"] == ("canceled", "starter")


# Cards


def collect_card(gateway: StripeGateway, customer_id: str, card: str, key: str) -> str:
    """Have the customer enter a card; returns the SetupIntent."""
    intent = gateway.create_setup_intent(customer_id=customer_id, idempotency_key=f"s{key}")
    gateway.confirm_setup_intent(
        setup_intent_id=intent["id"],
        payment_method_id=card,
        return_url=RETURN,
        idempotency_key=f"c{key}",
    )
    return str(intent["id"])


def default_card(sandbox: Control, customer_id: str) -> str:
    customer = sandbox.show(customer_id)
    card = sandbox.show(customer["invoice_settings"]["default_payment_method"])
    return str(card["card"]["brand"])


def test_a_card_that_was_entered_is_the_one_that_is_charged(
    sandbox: Control, gateway: StripeGateway
) -> None:
    customer_id = Subscriber(gateway).customer_id
    collect_card(gateway, customer_id, "pm_card_mastercard", "1")
    before = default_card(sandbox, customer_id)

    tell(sandbox, "setup_intent.succeeded")

    assert (before, default_card(sandbox, customer_id)) == ("visa", "mastercard")


def test_a_replayed_card_does_not_undo_a_later_choice(
    sandbox: Control, gateway: StripeGateway
) -> None:
    subscriber = Subscriber(gateway)
    first = sandbox.show(subscriber.customer_id)["invoice_settings"]["default_payment_method"]
    collect_card(gateway, subscriber.customer_id, "pm_card_mastercard", "1")
    event = tell(sandbox, "setup_intent.succeeded")
    gateway.set_default_payment_method(
        customer_id=subscriber.customer_id, payment_method_id=first, idempotency_key="back"
    )
    # Stripe would answer the same key with the same answer only for a day.
    sandbox.fault("error", path=f"/v1/customers/{subscriber.customer_id}", method="POST")

    replay([event["id"]], by="test")
    work_off()

    assert default_card(sandbox, subscriber.customer_id) == "visa"
    assert WebhookEvent.objects.get(event_id=event["id"]).state == "processed"


def test_the_late_word_of_an_older_card_does_not_bring_it_back(
    sandbox: Control, gateway: StripeGateway
) -> None:
    customer_id = Subscriber(gateway).customer_id
    sandbox.advance(seconds=5)
    older = collect_card(gateway, customer_id, "pm_card_visa", "1")
    sandbox.advance(seconds=5)
    newer = collect_card(gateway, customer_id, "pm_card_mastercard", "2")

    tell(sandbox, "setup_intent.succeeded", newer)
    tell(sandbox, "setup_intent.succeeded", older)

    assert default_card(sandbox, customer_id) == "mastercard"


def test_a_card_whose_setting_crashed_is_set_once(sandbox: Control, gateway: StripeGateway) -> None:
    customer_id = Subscriber(gateway).customer_id
    intent = collect_card(gateway, customer_id, "pm_card_mastercard", "1")
    sandbox.fault("cut_after", path=f"/v1/customers/{customer_id}", method="POST")
    before = len(sandbox.events(customer_id))
    [event] = sandbox.events(intent, type_="setup_intent.succeeded")
    deliver(event)
    work_off()
    failed = WebhookEvent.objects.get(event_id=event["id"]).error

    WebhookEvent.objects.update(due_at="2020-01-01T00:00:00Z")
    work_off()

    assert failed == "Unavailable"
    assert WebhookEvent.objects.get(event_id=event["id"]).state == "processed"
    assert default_card(sandbox, customer_id) == "mastercard"
    assert len(sandbox.events(customer_id)) == before + 1


# Invoices


@pytest.mark.parametrize(
    ("what", "type_", "status"),
    [
        ("nothing", "invoice.finalized", "open"),
        ("pay", "invoice.paid", "paid"),
        ("void", "invoice.voided", "void"),
    ],
)
def test_an_invoice_is_known_from_any_of_its_events(
    life: Life, sandbox: Control, gateway: StripeGateway, what: str, type_: str, status: str
) -> None:
    made = life.subscriber.subscribe("pro")
    invoice_id = made["latest_invoice"]["id"]
    if what == "pay":
        gateway.pay_invoice(invoice_id=invoice_id, idempotency_key="p")
    if what == "void":
        gateway.void_invoice(invoice_id=invoice_id, idempotency_key="v")

    tell(sandbox, type_, invoice_id)

    ref = InvoiceRef.objects.get(stripe_invoice_id=invoice_id)
    assert (ref.org_id, ref.status, ref.total, ref.currency) == (life.org_id, status, 9900, "usd")
    assert ref.stripe_subscription_id == made["id"]
    # The subscription it bills was asked for on the way.
    assert Subscription.objects.get(stripe_subscription_id=made["id"]).org_id == life.org_id


def test_a_failed_payment_makes_the_arrears_known(owner: Org, sandbox: Control) -> None:
    sandbox.fault("card_declined", count=-1)
    sandbox.travel(days=15)

    tell(sandbox, "invoice.payment_failed")

    answer = data(owner.get("/api/me/entitlements"))
    assert (answer["status"], mirror(owner).past_due_since is not None) == ("past_due", True)


# What is not there


@pytest.mark.parametrize("type_", sorted(HANDLERS))
def test_an_event_about_what_stripe_does_not_have_is_settled(sandbox: Control, type_: str) -> None:
    event = an_event(type_, about={"id": "gone_1", "object": "whatever"})

    deliver(event)
    work_off()

    assert WebhookEvent.objects.get(event_id=event["id"]).state == "processed"
    assert not Entitlement.objects.exists()


def test_events_that_come_before_the_sign_up_is_committed_are_linked_by_it(
    sandbox: Control, gateway: StripeGateway
) -> None:
    subscriber = Subscriber(gateway)
    made = subscriber.subscribe_now("pro")
    tell(sandbox, "invoice.paid")
    unlinked = Subscription.objects.get(stripe_subscription_id=made["id"]).org_id

    Organization.objects.create(
        org_id=subscriber.org_id,
        name="Acme",
        email="owner@acme.example",
        stripe_customer_id=subscriber.customer_id,
        created_at="2026-11-01T00:00:00Z",
    )
    convergence.converge(made["id"], because="sign-up")

    assert unlinked == ""
    assert known(made["id"])["entitled"] == ("active", "pro")
    assert InvoiceRef.objects.get().org_id == subscriber.org_id


def test_a_customer_that_carries_another_organisations_id_does_not_reach_it(
    owner: Org, sandbox: Control, gateway: StripeGateway
) -> None:
    impostor = Subscriber(gateway, org_id=owner.id, customer_id="")
    impostor.customer_id = gateway.ensure_customer(
        org_id="org_other", email="x@x.example", name="X", idempotency_key="other"
    )
    made = impostor.subscribe_now("business")

    tell(sandbox, "customer.subscription.created", made["id"])

    assert Subscription.objects.get(stripe_subscription_id=made["id"]).org_id == ""
    assert data(owner.get("/api/me/entitlements"))["planCode"] == "starter"
