"""Faults on order: what the gateway says, and that nothing is lost or doubled."""

import time

import pytest
import stripe
from django.conf import settings

from billing.stripe_gateway import StripeFailed, StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract.errors import Unavailable
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control


def _create(gateway: StripeGateway, key: str = "k") -> str:
    return gateway.ensure_customer(
        org_id="org_1", email="a@example.com", name="A", idempotency_key=key
    )


def _customers(sandbox: Control) -> int:
    found: int = sandbox.state()["objects"].get("customer", 0)
    return found


@pytest.mark.parametrize("kind", ["rate_limited", "conflict", "cut_before"])
def test_a_request_that_did_not_run_can_be_sent_again(
    sandbox: Control, gateway: StripeGateway, kind: str
) -> None:
    sandbox.fault(kind, path="/v1/customers", method="POST")

    with pytest.raises(Unavailable) as refused:
        _create(gateway)
    before = _customers(sandbox)
    _create(gateway)

    assert refused.value.headers["Retry-After"]
    assert (before, _customers(sandbox)) == (0, 1)


def test_an_answer_lost_after_success_is_replayed_under_the_same_key(
    sandbox: Control, gateway: StripeGateway, subscriber: Subscriber
) -> None:
    sandbox.fault("cut_after", path="/v1/subscriptions")
    wanted = {
        "customer_id": subscriber.customer_id,
        "price_id": subscriber.price("starter"),
        "org_id": subscriber.org_id,
        "idempotency_key": "once",
        "trial_days": 14,
    }

    with pytest.raises(Unavailable):
        gateway.create_subscription(**wanted)  # type: ignore[arg-type]
    made = gateway.create_subscription(**wanted)  # type: ignore[arg-type]

    [only] = gateway.list_subscriptions(customer_id=subscriber.customer_id)
    assert only["id"] == made["id"]


def test_a_server_error_kept_under_a_key_stays(sandbox: Control, gateway: StripeGateway) -> None:
    sandbox.fault("stored_error", path="/v1/customers", method="POST")

    for _ in range(2):
        with pytest.raises(StripeFailed):
            _create(gateway, "burnt")

    assert _customers(sandbox) == 0
    assert _create(gateway, "fresh")


def test_a_server_error_after_success_is_found_by_metadata(
    sandbox: Control, gateway: StripeGateway
) -> None:
    sandbox.fault("stored_error_after", path="/v1/customers", method="POST")
    with pytest.raises(StripeFailed):
        _create(gateway, "burnt")

    _create(gateway, "fresh")

    assert _customers(sandbox) == 1


def test_a_plain_server_error_is_not_kept(sandbox: Control, gateway: StripeGateway) -> None:
    sandbox.fault("error", path="/v1/customers", method="POST")
    with pytest.raises(StripeFailed):
        _create(gateway)

    assert _create(gateway)


def test_slowness_ends_with_the_budget(sandbox: Control, gateway: StripeGateway) -> None:
    sandbox.fault("slow", path="/v1/customers", method="GET", seconds=1.5)
    began = time.monotonic()

    with pytest.raises(Unavailable), gateway.session(seconds=0.3):
        _create(gateway)

    assert time.monotonic() - began < 1.2


def test_the_client_of_a_worker_tries_again_with_the_same_key(sandbox: Control) -> None:
    worker = StripeGateway(
        Transport(api_key=settings.STRIPE_API_KEY, base_url=sandbox.url, retries=2)
    )
    sandbox.fault("cut_after", path="/v1/customers", method="POST")

    assert _create(worker)
    assert _customers(sandbox) == 1


def test_two_requests_with_one_key_run_once(sandbox: Control) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client = stripe.StripeClient(settings.STRIPE_API_KEY, base_addresses={"api": sandbox.url})
    # Each request holds its key until its answer leaves.
    sandbox.fault("slow", path="/v1/customers", count=4, seconds=0.05)

    def create(_: int) -> str:
        try:
            return client.v1.customers.create({"name": "A"}, {"idempotency_key": "fault-a"}).id
        except stripe.APIError as refused:
            return "busy" if refused.http_status == 409 else "unexpected"

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(create, range(4)))

    assert len(answers - {"busy"}) == 1
    assert _customers(sandbox) == 1


def test_faults_are_listed_and_cleared(sandbox: Control, gateway: StripeGateway) -> None:
    sandbox.fault("error", count=-1)
    sandbox.clear_faults()

    assert sandbox.state()["faults"] == []
    assert _create(gateway)
