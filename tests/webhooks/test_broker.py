"""Celery is a doorbell: the broker may be away, hang or forget, and nothing is lost."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from billing.stripe_gateway import StripeGateway
from tests.sandbox.server import Control
from tests.support.length import Length
from tests.webhooks.lives import Life, expected, known
from tests.webhooks.plant import Plant, planted
from webhooks.models import EventCoverage, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
#: Seconds after which something will never happen. They bound a failure, and say nothing of
#: speed, which `./dev bench webhooks` measures: a busy machine must not turn these tests red.
ANSWERED = 30.0
SETTLED = 180.0


@pytest.fixture
def plant(sandbox: Control, tmp_path: Path) -> Iterator[Plant]:
    """Web, worker and beat; nothing runs yet."""
    with planted(tmp_path, sandbox) as made:
        yield made


def made_events(sandbox: Control, gateway: StripeGateway, count: int) -> tuple[list[Life], Any]:
    """Return so many lives, and of each the event of its beginning."""
    lives = [Life(gateway) for _ in range(count)]
    return lives, [
        sandbox.events(one.id, type_="customer.subscription.created")[0] for one in lives
    ]


def in_state(state: str, events: Sequence[Any]) -> int:
    """Count those of the events that are in a state (the gap filler takes in others)."""
    ids = [event["id"] for event in events]
    return WebhookEvent.objects.filter(event_id__in=ids, state=state).count()


def all_processed(events: Sequence[Any]) -> bool:
    return in_state("processed", events) == len(events)


def test_a_worker_that_is_rung_for_works_at_once(
    plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    lives, events = made_events(sandbox, gateway, 3)
    plant.broker.start()
    plant.start_web()
    plant.start_worker()  # no beat: nobody sweeps

    assert [plant.deliver(event) for event in events] == [202] * 3

    assert plant.wait_until(lambda: all_processed(events), SETTLED)
    assert all(known(life.id) == expected(sandbox, life.id) for life in lives)


def deliver_while_the_broker_is_down(
    plant: Plant, sandbox: Control, gateway: StripeGateway, count: int
) -> None:
    _, first = made_events(sandbox, gateway, 1)
    plant.broker.start()
    plant.start_web()
    plant.start_worker()
    plant.start_beat()
    # It works, and has compared the inbox with Stripe's list.
    assert plant.wait_until(lambda: all_processed(first), SETTLED)
    assert plant.wait_until(EventCoverage.objects.exclude(covered_to=None).exists, SETTLED)

    plant.broker.kill()
    lives, events = made_events(sandbox, gateway, count)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda one: plant.deliver(one, patience=ANSWERED), events))
    waiting = in_state("pending", events)
    plant.broker.start()

    assert statuses == [202] * count
    assert waiting == count
    assert plant.wait_until(lambda: all_processed(events), SETTLED)
    assert plant.running("worker")
    assert all(known(life.id) == expected(sandbox, life.id) for life in lives)


@pytest.mark.torture
def test_what_was_delivered_while_the_broker_was_down_is_processed_after_its_return(
    length: Length, plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    deliver_while_the_broker_is_down(plant, sandbox, gateway, length.of(20, 500))


def test_a_broker_that_hangs_holds_no_delivery_up(
    plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    _, events = made_events(sandbox, gateway, 12)
    plant.broker.start()
    plant.start_web()
    plant.broker.pause()  # it takes connections, and never says a word
    try:
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda one: plant.deliver(one, patience=ANSWERED), events))
    finally:
        plant.broker.resume()

    assert statuses == [202] * 12
    assert in_state("pending", events) == 12


def test_messages_that_were_purged_lose_nothing(
    plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    lives, events = made_events(sandbox, gateway, 20)
    plant.broker.start()
    plant.start_web()
    assert [plant.deliver(event) for event in events] == [202] * 20
    queue = redis.Redis.from_url(plant.broker.url.replace("db=0", "db=1"))
    rung = queue.llen("celery")
    queue.flushall()

    plant.start_worker()
    plant.start_beat()

    assert rung == 20
    assert plant.wait_until(lambda: all_processed(events), SETTLED)
    assert all(known(life.id) == expected(sandbox, life.id) for life in lives)
