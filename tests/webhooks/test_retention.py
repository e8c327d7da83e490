"""What old events said is dropped; that they came is kept."""

from datetime import timedelta

import pytest

from config.contract import clock
from tests.sandbox.server import Control
from tests.support.database import rewrite
from tests.webhooks.cast import an_event, deliver, work_off
from webhooks import tasks
from webhooks.models import WebhookEvent
from webhooks.replay import replay

pytestmark = pytest.mark.django_db(transaction=True)


def received_days_ago(days: int, *, but: str = "") -> None:
    at = clock.now() - timedelta(days=days)
    rewrite("UPDATE webhooks_webhookevent SET received_at = %s WHERE event_id <> %s", at, but)


def test_payloads_of_settled_events_are_dropped_after_ninety_days(sandbox: Control) -> None:
    processed = an_event("invoice.paid", about={"id": "in_1"})
    ignored = an_event("payment_method.attached")
    young = an_event("invoice.paid", about={"id": "in_2"})
    for event in (processed, ignored, young):
        deliver(event)
    work_off()
    received_days_ago(91, but=young["id"])

    tasks.forget_payloads()

    said = dict(WebhookEvent.objects.values_list("event_id", "payload"))
    assert (said[processed["id"]], said[ignored["id"]]) == (None, None)
    assert said[young["id"]] == young


@pytest.mark.parametrize("state", ["pending", "parked"])
def test_what_still_has_to_be_worked_on_keeps_what_it_says(sandbox: Control, state: str) -> None:
    event = an_event("invoice.paid", about={"id": "in_1"})
    deliver(event)
    received_days_ago(400)
    WebhookEvent.objects.update(state=state)

    tasks.forget_payloads()

    assert WebhookEvent.objects.get().payload == event


def test_an_event_that_was_forgotten_is_still_known_and_can_be_replayed(sandbox: Control) -> None:
    event = an_event("invoice.paid", about={"id": "in_1"})
    deliver(event)
    work_off()
    received_days_ago(91)
    tasks.forget_payloads()

    assert deliver(event)["duplicate"] is True
    assert replay([event["id"]], by="test").enqueued == 1
    assert work_off() == 1
    assert WebhookEvent.objects.get().state == "processed"
