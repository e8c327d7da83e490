"""Each guard of convergence, alone: without it, one of these ends in the wrong state."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction

from billing import convergence, invoices
from billing.models import InvoiceRef, Subscription
from billing.stripe_gateway import StripeGateway
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.sandbox.server import Control
from tests.webhooks.between import Between, Stale
from tests.webhooks.cast import deliver, work_off
from tests.webhooks.lives import Life, expected, known

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose subscription begins as a trial; no event has arrived yet."""
    return Life(gateway)


def newest(sandbox: Control, object_id: str) -> Any:
    return sandbox.events(object_id)[-1]


def test_an_old_event_that_arrives_late_does_not_bring_the_old_state_back(
    life: Life, sandbox: Control
) -> None:
    """Guard: the object is fetched; what the event says of it is not believed."""
    trial_began = newest(sandbox, life.id)
    sandbox.travel(days=15)

    deliver(trial_began)
    work_off()

    assert trial_began["data"]["object"]["status"] == "trialing"
    assert known(life.id)["status"] == "active"


def test_a_fetch_that_arrives_late_does_not_overwrite_a_newer_one(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    """Guard: fetches of a subscription are numbered."""

    def meanwhile() -> None:
        life.subscriber.change(life.subscription, "pro", end_trial=True)
        deliver(newest(sandbox, life.id))
        work_off()

    deliver(newest(sandbox, life.id))
    slow = Between(gateway, "retrieve_subscription", meanwhile)
    with clients.swapped("stripe", slow):
        work_off()

    assert known(life.id) == expected(sandbox, life.id)
    assert known(life.id)["plan_code"] == "pro"


def test_an_invoice_that_arrives_late_does_not_overwrite_a_newer_one(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    """Guard: fetches of an invoice are numbered."""
    made = life.subscriber.subscribe("pro")
    invoice_id = made["latest_invoice"]["id"]
    [finalised] = sandbox.events(invoice_id, type_="invoice.finalized")

    def meanwhile() -> None:
        gateway.pay_invoice(invoice_id=invoice_id, idempotency_key="pay")
        [paid] = sandbox.events(invoice_id, type_="invoice.paid")
        deliver(paid)
        work_off()

    deliver(finalised)
    slow = Between(gateway, "retrieve_invoice", meanwhile)
    with clients.swapped("stripe", slow):
        work_off()

    assert InvoiceRef.objects.get(stripe_invoice_id=invoice_id).status == "paid"


def test_a_fetch_waits_for_a_newer_one_that_is_being_written(life: Life, sandbox: Control) -> None:
    """Guard: the mirror is locked before its number is compared."""
    deliver(newest(sandbox, life.id))
    work_off()
    mirror = Subscription.objects.get(stripe_subscription_id=life.id)
    fetched = convergence.fetch(life.id)
    with by_hand() as other:
        other.execute(
            "UPDATE billing_subscription SET fetch_applied = %s, status = 'paused' WHERE id = %s",
            (fetched.number + 1, mirror.pk),
        )

        applying = in_thread(partial(applied, lambda: convergence.apply(fetched, because="test")))
        wait_until_blocked()
        other.commit()
    applying.result(5)

    mirror.refresh_from_db()
    assert (mirror.fetch_applied, mirror.status) == (fetched.number + 1, "paused")


def test_nor_does_a_fetch_of_an_invoice_overtake_one_that_is_being_written(
    life: Life, sandbox: Control
) -> None:
    """Guard: the same of invoices."""
    invoice_id = life.subscriber.subscribe("pro")["latest_invoice"]["id"]
    fetched = invoices.fetch(invoice_id)
    with by_hand() as other:
        other.execute(
            "UPDATE billing_invoiceref SET fetch_applied = %s, status = 'void'"
            " WHERE stripe_invoice_id = %s",
            (fetched.number + 1, invoice_id),
        )

        applying = in_thread(partial(applied, lambda: invoices.apply(fetched)))
        wait_until_blocked()
        other.commit()
    applying.result(5)

    ref = InvoiceRef.objects.get(stripe_invoice_id=invoice_id)
    assert (ref.fetch_applied, ref.status) == (fetched.number + 1, "void")


def applied(apply: Callable[[], object]) -> None:
    """Apply a fetch as its callers do, in a transaction."""
    with transaction.atomic():
        apply()


def test_a_subscription_that_ended_stays_ended(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    """Guard: a terminal state is final, whatever a lagging answer says."""
    alive = gateway.retrieve_subscription(subscription_id=life.id)
    gateway.cancel_subscription(subscription_id=life.id)
    [created, *_, ended] = sandbox.events(life.id)
    deliver(ended)
    work_off()

    deliver(created)
    with clients.swapped("stripe", Stale(gateway, "retrieve_subscription", alive)):
        work_off()

    assert known(life.id)["status"] == "canceled"
    assert known(life.id)["entitled"] == ("canceled", "starter")


def test_a_late_word_of_a_dead_subscription_does_not_lock_its_successor_out(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    """Guard: the entitlement is computed from all subscriptions of the organisation."""
    gateway.cancel_subscription(subscription_id=life.id)
    successor = life.subscriber.subscribe_now("pro")
    deliver(newest(sandbox, successor["id"]))
    work_off()

    deliver(newest(sandbox, life.id))
    work_off()

    assert Subscription.objects.get(stripe_subscription_id=life.id).status == "canceled"
    entitlement = Entitlement.objects.get(org_id=life.org_id)
    assert (entitlement.status, entitlement.plan_code) == ("active", "pro")


def test_a_dead_subscription_does_not_lock_a_successor_out_that_is_younger_but_came_first(
    life: Life, sandbox: Control, gateway: StripeGateway
) -> None:
    """Guard: what runs comes before what ended, however young the dead one is."""
    younger = life.subscriber.subscribe_now("pro")
    gateway.cancel_subscription(subscription_id=younger["id"])
    for subscription_id in (life.id, younger["id"]):
        deliver(newest(sandbox, subscription_id))
    work_off()

    entitlement = Entitlement.objects.get(org_id=life.org_id)
    assert (entitlement.status, entitlement.plan_code) == ("trialing", "starter")
