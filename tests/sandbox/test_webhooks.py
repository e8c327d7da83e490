"""Webhooks: signed, retried, and as unruly as ordered; events as an integration reads them."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.conf import settings

from billing.stripe_gateway import API_VERSION, StripeGateway, verify_signature
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control


@dataclass
class Intake:
    """What arrived, and what is answered."""

    url: str = ""
    status: int = 202
    arrived: list[dict[str, Any]] = field(default_factory=list)
    signatures: list[bool] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """The types of the events, in the order of arrival."""
        return [event["type"] for event in self.arrived]


@pytest.fixture
def intake(sandbox: Control) -> Iterator[Intake]:
    """A receiver that the sandbox delivers to."""
    found = Intake()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 (the name is http.server's)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            header = self.headers["Stripe-Signature"]
            found.signatures.append(verify_signature(body, header, settings.STRIPE_WEBHOOK_SECRETS))
            found.arrived.append(json.loads(body))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/api/webhooks/stripe"
    sandbox.deliver_to(found.url)
    sandbox.deliver()
    found.arrived.clear()
    found.signatures.clear()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def _customer(gateway: StripeGateway, key: str = "k") -> str:
    return gateway.ensure_customer(
        org_id=f"org_{key}", email="a@example.com", name="A", idempotency_key=key
    )


def test_events_arrive_signed_and_with_their_version(
    sandbox: Control, gateway: StripeGateway, intake: Intake
) -> None:
    customer = _customer(gateway)

    counted = sandbox.deliver()

    assert intake.types == ["customer.created", "payment_method.attached", "customer.updated"]
    assert intake.signatures == [True] * 3
    assert {event["api_version"] for event in intake.arrived} == {API_VERSION}
    assert intake.arrived[0]["data"]["object"]["id"] == customer
    assert counted == {"delivered": 3, "failed": 0, "dropped": 0}


def test_only_updates_carry_previous_attributes(sandbox: Control, gateway: StripeGateway) -> None:
    customer = _customer(gateway)
    gateway.ensure_customer(
        customer_id=customer,
        org_id="org_k",
        email="new@example.com",
        name="A",
        idempotency_key="k2",
    )

    [created, *updates] = sandbox.events(customer)
    assert "previous_attributes" not in created["data"]
    assert updates[-1]["data"]["previous_attributes"] == {"email": "a@example.com"}


def test_what_is_not_taken_is_sent_again(
    sandbox: Control, gateway: StripeGateway, intake: Intake
) -> None:
    intake.status = 500
    _customer(gateway)
    refused = sandbox.deliver()
    undelivered = gateway.list_events(undelivered_only=True)["data"]
    intake.status = 202

    taken = sandbox.deliver()

    assert (refused["failed"], taken["delivered"]) == (3, 3)
    assert len(undelivered) == 3
    assert gateway.list_events(undelivered_only=True)["data"] == []


@pytest.mark.parametrize(
    ("kind", "arrivals"),
    [("webhook_duplicate", 4), ("webhook_drop", 2), ("webhook_fail", 2), ("webhook_delay", 3)],
)
def test_deliveries_misbehave_as_ordered(
    sandbox: Control, gateway: StripeGateway, intake: Intake, kind: str, arrivals: int
) -> None:
    _customer(gateway)
    sandbox.fault(kind, seconds=3600)

    sandbox.deliver()

    # `deliver` sends at once what a delay would hold back for the background thread.
    assert len(intake.arrived) == arrivals


def test_a_batch_can_go_out_last_first(
    sandbox: Control, gateway: StripeGateway, intake: Intake
) -> None:
    _customer(gateway)
    sandbox.fault("webhook_reorder")

    sandbox.deliver()

    assert intake.types == ["customer.updated", "payment_method.attached", "customer.created"]


def test_an_event_can_be_replayed(sandbox: Control, gateway: StripeGateway, intake: Intake) -> None:
    customer = _customer(gateway)
    sandbox.deliver()
    [event] = sandbox.events(customer, type_="customer.created")

    sandbox.replay(event["id"])
    sandbox.deliver()

    assert [arrived["id"] for arrived in intake.arrived].count(event["id"]) == 2


def test_events_are_listed_by_type_and_time(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    start = sandbox.now()
    sandbox.advance(hours=1)
    subscriber.subscribe_now("starter")

    found = gateway.list_events(types=["invoice.paid", "invoice.finalized"])["data"]
    later = gateway.list_events(types=["customer.*"], created_from=start + 1800)["data"]
    first = gateway.list_events(limit=2)
    rest = gateway.list_events(limit=100, starting_after=first["data"][-1]["id"])

    assert [event["type"] for event in found] == ["invoice.paid", "invoice.finalized"]
    assert "customer.created" not in {event["type"] for event in later}
    assert first["has_more"]
    assert len(rest["data"]) == len(sandbox.events()) - 2


def test_the_endpoint_is_listed_with_its_version(
    sandbox: Control, gateway: StripeGateway, intake: Intake
) -> None:
    [endpoint] = gateway.list_webhook_endpoints()

    assert (endpoint["url"], endpoint["api_version"]) == (intake.url, API_VERSION)
