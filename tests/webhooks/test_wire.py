"""The intake behind its real server: what a client can do to the bytes on their way."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.live import Live, env_of_web, web
from tests.webhooks.cast import PATH, an_event, encoded, signature
from webhooks.models import WebhookEvent
from webhooks.views import EVENT_CAP

pytestmark = pytest.mark.django_db(transaction=True)
Answer = tuple[int, dict[str, Any]]


@pytest.fixture
def served(transactional_db: None) -> Iterator[Live]:
    """A web process on this test's database."""
    with web(env_of_web()) as live:
        yield live


def put(live: Live, body: Any, headers: dict[str, str], *more: tuple[str, str]) -> Answer:
    """POST what http.client would not: several headers of a name, chunks, lengths that lie."""
    link = http.client.HTTPConnection(urlsplit(live.base).netloc, timeout=30)
    try:
        link.putrequest("POST", PATH)
        for name, value in [*headers.items(), *more]:
            link.putheader(name, value)
        link.endheaders()
        link.send(body)
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        link.close()


def signed(body: bytes, **more: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Stripe-Signature": signature(body),
        **more,
    }


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    parts = [body[:half], body[half:], b""]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def without_length(body: bytes) -> dict[str, str]:
    headers = signed(body, **{"Transfer-Encoding": "chunked"})
    del headers["Content-Length"]
    return headers


def test_what_is_signed_is_taken_whatever_it_is_called(served: Live) -> None:
    """The signature is over the bytes; nothing else about them is believed or needed."""
    bodies = [encoded(an_event("payment_method.attached")) for _ in range(4)]
    types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]

    answers = [
        put(served, body, signed(body, **{"Content-Type": type_}))
        for body, type_ in zip(bodies, types, strict=True)
    ]

    assert [status for status, _ in answers] == [202] * 4
    assert WebhookEvent.objects.count() == 4


def test_a_body_in_chunks_is_taken_as_one_with_a_length_is(served: Live) -> None:
    event = an_event("payment_method.attached")
    body = encoded(event)

    status, said = put(served, chunked(body), without_length(body))

    assert (status, said["data"]["eventId"]) == (202, event["id"])


def test_of_a_name_that_stands_twice_the_last_one_counts_and_it_is_one_event(served: Live) -> None:
    event = an_event("payment_method.attached")
    body = encoded(event).replace(b'{"id":', b'{"id":"evt_first","id":', 1)

    status, said = put(served, body, signed(body))

    assert (status, said["data"]["eventId"]) == (202, event["id"])
    assert WebhookEvent.objects.get().event_id == event["id"]


def test_a_thin_event_of_the_second_version_is_kept_and_not_processed(served: Live) -> None:
    thin = {
        "id": "evt_test_65R9Ijk8dKEYZcXeRWn16R9A7j1FSQ3w3TGDPLLGSM4CW0",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": "2026-11-22T10:00:00.000Z",
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/1"},
    }
    body = encoded(thin)

    status, _ = put(served, body, signed(body))

    kept = WebhookEvent.objects.get()
    assert (status, kept.state, kept.refused) == (202, "ignored", "not_an_event")


REFUSED: dict[str, tuple[int, str, Callable[[Live, bytes], Answer]]] = {
    "two signature headers of two times": (
        400,
        "SIGNATURE_INVALID",
        lambda live, body: put(
            live, body, signed(body), ("Stripe-Signature", signature(body, at=1_600_000_000))
        ),
    ),
    "a length that cuts the body off": (
        400,
        "SIGNATURE_INVALID",
        lambda live, body: put(
            live, body[:-9], signed(body, **{"Content-Length": str(len(body) - 9)})
        ),
    ),
    "no length, and no body": (
        400,
        "SIGNATURE_INVALID",
        lambda live, body: put(live, b"", {"Stripe-Signature": signature(body)}),
    ),
    "bytes that are no text": (
        400,
        "SIGNATURE_INVALID",
        lambda live, body: put(live, b"\xff" + body, signed(b"\xff" + body)),
    ),
    "a body larger than the cap": (
        413,
        "PAYLOAD_TOO_LARGE",
        lambda live, body: put(live, body.ljust(EVENT_CAP + 1), signed(body.ljust(EVENT_CAP + 1))),
    ),
    "no signature": (
        400,
        "SIGNATURE_INVALID",
        lambda live, body: put(live, body, {"Content-Length": str(len(body))}),
    ),
}


def test_what_is_refused_is_refused_in_the_envelope_and_leaves_nothing(served: Live) -> None:
    body = encoded(an_event("customer.subscription.updated", about={"id": "sub_1"}))

    answers = {name: attack(served, body) for name, (_, _, attack) in REFUSED.items()}

    assert {name: (status, said["error"]["code"]) for name, (status, said) in answers.items()} == {
        name: (status, code) for name, (status, code, _) in REFUSED.items()
    }
    assert all(said["ok"] is False and said["meta"]["requestId"] for _, said in answers.values())
    assert not WebhookEvent.objects.exists()
