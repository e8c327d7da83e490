"""The broker hangs under load, again and again: the workers go on where it goes on."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from billing.contact import services
from billing.models import Operation, Organization
from billing.notifications import addresses
from billing.notifications.announcing import announce
from billing.notifications.models import Delivery
from billing.stripe_gateway import StripeGateway
from config.backoffice.dashboard.lights import State, lights
from config.contract import clock
from tests.contract.routes import client
from tests.sandbox.server import Control
from tests.support.cast import Org
from tests.support.length import Length
from tests.webhooks.cast import deliver
from tests.webhooks.lives import Life
from tests.webhooks.plant import Plant, planted
from tests.webhooks.test_broker import SETTLED, all_processed, made_events
from webhooks.models import WebhookEvent
from webhooks.progress import Watchdog, overdue, trouble

pytestmark = pytest.mark.django_db(transaction=True)
#: Seconds after the broker's return in which all that is due is worked off.
PROMISED = 30.0


@pytest.fixture
def plant(sandbox: Control, tmp_path: Path) -> Iterator[Plant]:
    """Web, worker and beat; nothing runs yet."""
    with planted(tmp_path, sandbox) as made:
        yield made


def running(plant: Plant, sandbox: Control, gateway: StripeGateway) -> None:
    """Start all of it, and wait until it works."""
    plant.broker.start()
    plant.start_web()
    plant.start_worker()
    plant.start_beat()
    _, first = made_events(sandbox, gateway, 1)
    assert plant.deliver(first[0]) == 202
    assert plant.wait_until(lambda: all_processed(first), SETTLED)


@pytest.mark.torture
def test_everything_due_is_worked_off_within_half_a_minute_of_the_brokers_return(
    length: Length, plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    running(plant, sandbox, gateway)
    for seconds in (1, 4, 10, 60) * 10 if length.full else (1, 4, 4):
        _, events = made_events(sandbox, gateway, 12)
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(plant.deliver, events[:6]))
            plant.broker.pause()  # tasks are in hand: their acknowledgements fail
            statuses += pool.map(plant.deliver, events[6:])
        time.sleep(seconds)  # so long is the outage
        plant.broker.resume()
        returned_at = time.monotonic()

        assert statuses == [202] * 12
        assert plant.wait_until(lambda batch=events: all_processed(batch), SETTLED)  # type: ignore[misc]
        taken = time.monotonic() - returned_at
        print(f"broker away {seconds} s: worked off {taken:.1f} s after its return")  # noqa: T201
        assert taken < PROMISED
    assert plant.running("worker")


def test_a_worker_that_hears_nothing_though_work_is_due_ends_itself(
    plant: Plant, sandbox: Control, gateway: StripeGateway
) -> None:
    plant.set("WORKER_PATIENCE", "3")
    plant.broker.start()
    plant.start_web()
    # It is up, and deaf for the queue that all is put into.
    plant.start_worker("-Q", "another")

    _, events = made_events(sandbox, gateway, 2)
    assert [plant.deliver(event) for event in events] == [202] * 2
    assert plant.wait_until(lambda: not plant.running("worker"), SETTLED)
    plant.start_worker()  # as whoever supervises it does

    assert plant.wait_until(lambda: all_processed(events), SETTLED)


def test_work_that_nobody_does_is_named_as_degraded(
    sandbox: Control, gateway: StripeGateway
) -> None:
    life = Life(gateway)
    [event] = sandbox.events(life.id, type_="customer.subscription.created")
    deliver(event)
    assert "worker" not in degraded()

    WebhookEvent.objects.update(due_at=clock.real_now() - timedelta(seconds=40))
    stuck = degraded()
    [light] = [one for one in lights(now=clock.now()) if one.name == "Worker and beat"]
    WebhookEvent.objects.update(lease_until=clock.real_now() + timedelta(seconds=40))

    assert stuck == ["worker"]
    assert light.state == State.BAD
    assert "no progress" in light.sentence
    assert degraded() == []


def a_notification(org_id: str, since: datetime) -> None:
    announce(org_id=org_id, kind="quota.warning", key="one", data={}, at=since)
    assert Delivery.objects.update(due_at=since)


def a_change_of_contact(org_id: str, since: datetime) -> None:
    Organization.objects.filter(org_id=org_id).update(contact_due_at=since)


def a_new_address(org_id: str, since: datetime) -> None:
    change = services.read(name=None, email="new@acme.example")
    services.request_change(org_id=org_id, change=change, now=since)


def a_link_to_agree_by(org_id: str, since: datetime) -> None:
    with transaction.atomic():
        addresses.choose(org_id=org_id, emails=["told@other.example"], now=since)


def a_sign_up(org_id: str, since: datetime) -> None:
    Operation.objects.create(
        uuid=uuid4(),
        kind=Operation.Kind.SIGN_UP,
        org_id=org_id,
        request={},
        lease_until=since,
        created_at=since,
    )


WAITING: dict[str, Callable[[str, datetime], None]] = {
    "notifications": a_notification,
    "changes of contact": a_change_of_contact,
    "mails of a new address": a_new_address,
    "links to agree by": a_link_to_agree_by,
    "sign-ups": a_sign_up,
}


@pytest.mark.parametrize("kind", WAITING)
def test_what_else_waits_for_a_worker_is_named_too(org: Org, kind: str) -> None:
    now = clock.real_now()
    since = now - timedelta(seconds=130)
    WAITING[kind](org.id, since)

    [(name, late)] = overdue(now=now).items()
    assert name.startswith(kind)
    assert late == now - since
    assert degraded() == ["worker"]
    assert kind in trouble(now=now)


def degraded() -> Any:
    ready = client().get("/readyz")
    assert ready.status_code == 200
    return ready.json().get("degraded", [])


def test_a_worker_is_stuck_only_where_work_is_due_it_was_rung_for_and_it_heard_nothing() -> None:
    late, early = timedelta(seconds=1), timedelta(0)
    patient, hasty = Watchdog(3600), Watchdog(-1)

    assert hasty.is_stuck(late, busy=False, rung=True)
    assert not hasty.is_stuck(late, busy=True, rung=True)
    assert not hasty.is_stuck(late, busy=False, rung=False)
    assert not patient.is_stuck(early, busy=False, rung=True)


def test_a_worker_that_heard_nothing_for_long_is_stuck_though_nothing_is_due() -> None:
    silent, heard = Watchdog(-1), Watchdog(3600)

    assert silent.is_stuck(timedelta(0), busy=False, rung=True)
    assert not silent.is_stuck(timedelta(0), busy=False, rung=False)
    assert not heard.is_worried(timedelta(0))
