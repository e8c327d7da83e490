"""Stripe refuses our API key, or keeps a 500: what was asked waits, and is asked again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from billing.models import Operation
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.backoffice.dashboard.lights import State, lights
from config.contract import clock
from config.contract.clients import clients
from tests.billing.owners import new_owner, paid, unfinished
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control
from tests.support.cast import data
from tests.webhooks.cast import deliver, work_off
from tests.webhooks.lives import Life, known
from tests.webhooks.test_handlers import collect_card, default_card
from webhooks import claims
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def refused_key(sandbox: Control) -> Iterator[None]:
    """Ask Stripe with a key that it refuses (401)."""
    transport = Transport(api_key="sk_test_revoked", base_url=sandbox.url)
    with clients.swapped("stripe", StripeGateway(transport)):
        yield


def try_again() -> None:
    """Let the time pass until everything that waits is due, and work on it."""
    WebhookEvent.objects.filter(state="pending").update(due_at=clock.real_now())
    work_off()


def light(name: str) -> tuple[State, str]:
    """Return how a light of the dashboard stands, and what it says."""
    [found] = [one for one in lights(now=clock.now()) if one.name == name]
    return found.state, found.sentence


def test_events_wait_while_stripe_refuses_our_key_and_use_up_no_try(
    sandbox: Control, gateway: StripeGateway
) -> None:
    life = Life(gateway)
    [event] = sandbox.events(life.id, type_="customer.subscription.created")

    with refused_key(sandbox):
        deliver(event)
        for _ in range(claims.MOST_ATTEMPTS + 2):
            try_again()
        waiting = WebhookEvent.objects.get()
        shown = light("Webhooks")
    try_again()

    assert (waiting.state, waiting.attempts) == ("pending", 0)
    assert waiting.error == "StripeKeyRefused"
    assert waiting.due_at > clock.real_now() - timedelta(seconds=1)
    assert shown[0] == State.BAD
    assert "refuses our API key" in shown[1]
    assert "1 events wait" in shown[1]
    assert WebhookEvent.objects.get().state == "processed"
    assert known(life.id)["status"] == "trialing"
    assert light("Webhooks")[0] == State.GOOD


def test_a_plan_change_waits_while_stripe_refuses_our_key(sandbox: Control) -> None:
    owner = new_owner()

    with refused_key(sandbox):
        refused = owner.upgrade("pro", key="k")
    left = Operation.objects.get(kind=Operation.Kind.UPGRADE).state
    answer = owner.upgrade("pro", key="k")

    assert refused.status_code == 500
    assert left == "started"
    assert data(answer)["planCode"] == "pro"
    assert paid(sandbox) == [9900]
    assert unfinished() == 0


@pytest.mark.parametrize("fault", ["stored_error", "stored_error_after"])
def test_a_card_is_set_under_a_new_key_after_a_500_that_stripe_keeps(
    sandbox: Control, gateway: StripeGateway, fault: str
) -> None:
    customer_id = Subscriber(gateway).customer_id
    intent = collect_card(gateway, customer_id, "pm_card_mastercard", "1")
    [event] = sandbox.events(intent, type_="setup_intent.succeeded")
    sandbox.fault(fault, path=f"/v1/customers/{customer_id}", method="POST")

    deliver(event)
    work_off()
    failed = WebhookEvent.objects.get().error
    try_again()

    assert failed == "StripeFailed"
    assert WebhookEvent.objects.get().state == "processed"
    assert default_card(sandbox, customer_id) == "mastercard"


def test_the_portals_settings_are_made_under_a_new_key_after_a_500_that_stripe_keeps(
    sandbox: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = new_owner()
    sandbox.fault("stored_error", path="/v1/billing_portal/configurations", method="POST")
    now = clock.real_now()
    portal = "/api/payments/portal"

    failed = owner.post(portal, {"orgId": owner.id})
    monkeypatch.setattr(clock, "real_now", lambda: now + timedelta(seconds=61))
    opened = owner.post(portal, {"orgId": owner.id})

    assert failed.status_code == 502
    assert data(opened)["url"]
