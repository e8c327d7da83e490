"""An owner hears of a payment that failed: once for each attempt, and not of one since paid."""

from typing import Any

import pytest
from django.core import mail

from billing import tasks
from billing.models import InvoiceRef
from billing.notifications.models import Notification
from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.webhooks.cast import deliver, news, work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(sandbox: Control) -> Owner:
    """Somebody whose trial ends, and whose card is then declined."""
    made = new_owner()
    sandbox.fault("card_declined", count=-1)
    sandbox.travel(days=15)
    return made


def failures(sandbox: Control) -> list[Any]:
    return [event for event in news(sandbox) if event["type"] == "invoice.payment_failed"]


def hear(events: list[Any]) -> None:
    for event in events:
        deliver(event)
    work_off()


def test_a_failed_payment_is_announced_once(owner: Owner, sandbox: Control) -> None:
    events = failures(sandbox)

    hear(events)
    deliver({**events[0], "id": "evt_of_the_same"})
    work_off()
    tasks.deliver_notifications()

    [notification] = Notification.objects.all()
    [message] = mail.outbox
    ref = InvoiceRef.objects.get(stripe_invoice_id=notification.data["invoiceId"])
    assert notification.kind == "payment.failed"
    assert notification.data == {
        "orgId": owner.id,
        "invoiceId": ref.stripe_invoice_id,
        "amountDue": 1900,
        "currency": "usd",
    }
    assert message.to == ["owner@acme.example"]
    assert "$19.00" in message.body
    assert ref.hosted_invoice_url in message.body


def test_each_attempt_that_fails_is_announced(owner: Owner, sandbox: Control) -> None:
    hear(failures(sandbox))

    sandbox.travel(days=4)
    hear(failures(sandbox)[1:])

    assert Notification.objects.count() == 2


def test_nothing_is_said_of_an_invoice_that_was_paid_meanwhile(
    owner: Owner, sandbox: Control
) -> None:
    events = failures(sandbox)
    sandbox.clear_faults()
    sandbox.travel(days=4)

    hear(events)

    assert InvoiceRef.objects.filter(status="paid").exists()
    assert not Notification.objects.exists()
