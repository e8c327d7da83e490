"""What the intake stores: the job, whole, once; and what it keeps without working on it."""

import json
from typing import Any

import pytest
import structlog
from django.conf import settings

from config.contract import clock
from tests.support.cast import data, error
from tests.webhooks.cast import an_event, client, deliver, encoded, send, signature, work_off
from webhooks.models import WebhookEvent
from webhooks.views import EVENT_CAP

pytestmark = pytest.mark.django_db(transaction=True)

SUBSCRIPTION = {"id": "sub_1", "object": "subscription"}


def stored(event: Any) -> WebhookEvent:
    return WebhookEvent.objects.get(event_id=event["id"])


def about(event: Any) -> Any:
    """Return what is stored of the object the event is about."""
    payload: Any = stored(event).payload
    return payload["data"]["object"]


def test_an_event_becomes_a_job_with_everything_a_worker_needs() -> None:
    event = an_event("customer.subscription.updated", about=SUBSCRIPTION)
    before = clock.now()

    answer = deliver(event, **{"x-correlation-id": "corr-1"})

    row = stored(event)
    assert answer == {"received": True, "eventId": event["id"], "duplicate": False}
    assert (row.type, row.event_id) == ("customer.subscription.updated", event["id"])
    assert row.payload == event
    assert row.correlation_id == "corr-1"
    assert before <= row.received_at <= clock.now()
    assert (row.object_id, row.api_version) == ("sub_1", "2026-10-28.endive")
    assert int(row.created_at.timestamp()) == event["created"]
    assert (row.state, row.attempts) == ("pending", 0)


def test_an_event_delivered_again_is_taken_and_stored_once() -> None:
    event = an_event("customer.subscription.updated", about=SUBSCRIPTION)
    deliver(event, **{"x-correlation-id": "first"})

    again = deliver(event, **{"x-correlation-id": "second"})

    assert again == {"received": True, "eventId": event["id"], "duplicate": True}
    assert stored(event).correlation_id == "first"


def test_an_event_that_was_processed_is_not_processed_again_when_delivered_again() -> None:
    event = an_event("setup_intent.succeeded", about={"id": "seti_1"})
    deliver(event)
    WebhookEvent.objects.update(state="processed", processed_at=clock.now())

    deliver(event)

    assert stored(event).state == "processed"
    assert work_off() == 0


def test_a_type_that_nothing_handles_is_kept_as_ignored() -> None:
    event = an_event("payment_method.attached")

    deliver(event)

    assert (stored(event).state, stored(event).refused) == ("ignored", "")
    assert work_off() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"livemode": True}, "livemode"),
        ({"livemode": None}, "livemode"),
        ({"livemode": 0}, "livemode"),
        ({"account": "acct_other"}, "account"),
    ],
)
def test_an_event_of_another_mode_or_account_is_kept_told_of_and_never_processed(
    change: dict[str, Any], reason: str
) -> None:
    event = an_event("customer.subscription.deleted", about=SUBSCRIPTION, **change)

    with structlog.testing.capture_logs() as logged:
        deliver(event)

    assert (stored(event).state, stored(event).refused) == ("ignored", reason)
    assert [
        (one["log_level"], one["reason"]) for one in logged if one["event"] == "webhook_refused"
    ] == [("error", reason)]
    assert work_off() == 0


def test_in_live_mode_it_is_test_events_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STRIPE_MODE", "live")
    live = an_event("customer.subscription.updated", about=SUBSCRIPTION, livemode=True)
    test = an_event("customer.subscription.updated", about=SUBSCRIPTION)

    deliver(live)
    deliver(test)

    assert (stored(live).state, stored(test).state) == ("pending", "ignored")


def test_an_event_that_names_our_own_account_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "STRIPE_ACCOUNT", "acct_ours")
    event = an_event("customer.subscription.updated", about=SUBSCRIPTION, account="acct_ours")

    deliver(event)

    assert stored(event).state == "pending"


_EVENT = an_event("customer.subscription.updated", about=SUBSCRIPTION)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"null",
        b"[]",
        b'"evt_1"',
        b"[" * 100_000,
        b"1" * 5_000,
        encoded({**_EVENT, "object": "v2.core.event"}),
        encoded({**_EVENT, "id": None}),
        encoded({**_EVENT, "id": "e" * 256}),
        encoded({**_EVENT, "type": ""}),
        encoded({**_EVENT, "type": 1}),
        encoded({**_EVENT, "created": "now"}),
        encoded({**_EVENT, "created": True}),
        encoded({**_EVENT, "created": 10**30}),
        encoded({**_EVENT, "data": None}),
        encoded({**_EVENT, "data": {"object": []}}),
    ],
)
def test_what_is_signed_and_no_event_is_kept_once_and_never_processed(body: bytes) -> None:
    first = send(body, signature(body))
    again = send(body, signature(body))

    assert (first.status_code, again.status_code) == (202, 202)
    assert (data(first)["duplicate"], data(again)["duplicate"]) == (False, True)
    row = WebhookEvent.objects.get()
    assert (row.event_id, row.state, row.refused) == (
        data(first)["eventId"],
        "ignored",
        "not_an_event",
    )
    assert work_off() == 0


def test_a_handled_event_about_nothing_is_kept_as_ignored() -> None:
    event = an_event("customer.subscription.updated", about={"object": "subscription"})

    deliver(event)

    assert stored(event).state == "ignored"


def test_characters_that_no_column_holds_do_not_lose_an_event() -> None:
    event = an_event(
        "customer.subscription.updated", about={**SUBSCRIPTION, "name": "a\x00b\ud800"}
    )

    deliver(event)

    assert stored(event).state == "pending"
    assert about(event)["name"] == "a\ufffdb\ufffd"


def test_numbers_that_no_column_holds_do_not_lose_an_event() -> None:
    event = an_event("customer.subscription.updated", about=SUBSCRIPTION)
    body = encoded(event).replace(b'"object":"subscription"', b'"x":1e999,"y":NaN')

    assert send(body, signature(body)).status_code == 202

    assert about(event) == {"id": "sub_1", "x": None, "y": None}


def test_an_event_as_large_as_the_cap_is_taken_and_one_byte_more_is_413() -> None:
    event = encoded(an_event())
    largest = event + b" " * (EVENT_CAP - len(event))

    taken = send(largest, signature(largest))
    refused = send(largest + b" ", signature(largest + b" "))

    assert taken.status_code == 202
    assert refused.status_code == 413
    assert error(refused)["code"] == "PAYLOAD_TOO_LARGE"
    assert WebhookEvent.objects.count() == 1


def test_size_is_looked_at_before_the_signature() -> None:
    response = send(b"x" * (EVENT_CAP + 1), None)

    assert response.status_code == 413


def test_only_post_is_known() -> None:
    response = client().get("/api/webhooks/stripe")

    assert response.status_code == 405
    assert json.loads(response.content)["error"]["code"] == "METHOD_NOT_ALLOWED"


def test_nothing_of_an_event_is_logged() -> None:
    event = an_event(about={"id": "cus_1", "email": "private@acme.example", "name": "Canary Name"})

    with structlog.testing.capture_logs() as logged:
        deliver(event)

    assert "Canary" not in str(logged)
    assert "private" not in str(logged)
