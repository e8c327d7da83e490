"""Workers are killed at random points: nothing is lost, nothing happens twice."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.stripe_gateway import StripeGateway
from config.contract import clock
from tests.sandbox.server import Control
from tests.support.length import Length
from tests.webhooks.cast import deliver
from tests.webhooks.lives import Life, expected, known
from tests.webhooks.plant import Plant, planted
from webhooks.models import WebhookEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]
_PER_ROUND = 4
#: Seconds after which something will never happen, on however busy a machine.
SETTLED = 180.0


@pytest.fixture
def plant(sandbox: Control, tmp_path: Path) -> Iterator[Plant]:
    """Web, worker and beat; nothing runs yet."""
    with planted(tmp_path, sandbox) as made:
        yield made


def begin(sandbox: Control, gateway: StripeGateway) -> Life:
    """Begin a life and enter a card; deliver all that Stripe tells of it."""
    life = Life(gateway)
    intent = gateway.create_setup_intent(
        customer_id=life.subscriber.customer_id, idempotency_key=life.subscriber.key()
    )
    gateway.confirm_setup_intent(
        setup_intent_id=intent["id"],
        payment_method_id="pm_card_mastercard",
        return_url="http://localhost/",
        idempotency_key=life.subscriber.key(),
    )
    for object_id in (life.id, life.subscriber.customer_id, intent["id"]):
        for event in sandbox.events(object_id):
            deliver(event)
    return life


def pending() -> int:
    return WebhookEvent.objects.filter(state="pending").count()


def test_workers_killed_at_random_points_lose_and_double_nothing(
    length: Length, plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    kills = length.of(2, 100)
    chance = random.Random(kills)
    plant.broker.start()
    plant.start_beat()
    lives: list[Life] = []
    for _ in range(kills):
        lives += [begin(sandbox, gateway) for _ in range(_PER_ROUND)]
        waiting = pending()
        plant.start_worker()
        assert plant.wait_until(lambda: pending() < waiting, SETTLED)  # noqa: B023 - called at once
        # Somewhere in the work, or just after it.
        plant.wait_until(lambda: False, chance.uniform(0.0, 0.4))
        plant.kill("worker")
    # The dead ones' leases run out.
    WebhookEvent.objects.filter(state="pending").update(lease_until=clock.real_now())
    plant.start_worker()

    assert plant.wait_until(lambda: pending() == 0, SETTLED)
    assert not WebhookEvent.objects.filter(state="parked").exists()
    assert all(known(life.id) == expected(sandbox, life.id) for life in lives)
    set_as_default = Counter(
        event["data"]["object"]["id"]
        for event in sandbox.events()
        if event["type"] == "customer.updated"
        and "invoice_settings" in event["data"].get("previous_attributes", {})
        and event["request"]["idempotency_key"].startswith("default-card:")
    )
    assert set_as_default == {life.subscriber.customer_id: 1 for life in lives}
