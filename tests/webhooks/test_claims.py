"""Who works on what, how long, and what becomes of a failure."""

from datetime import timedelta
from typing import Any

import pytest
import structlog
from django.db import connection, transaction

from billing.stripe_gateway import StripeGateway
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.races.interleave import by_hand, in_thread
from tests.sandbox.server import Control
from tests.webhooks.between import Between, Killed
from tests.webhooks.cast import an_event, deliver, work_off
from tests.webhooks.lives import Life, known
from webhooks import claims, processor
from webhooks.models import WebhookEvent
from webhooks.replay import replay

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose subscription begins as a trial; no event has arrived yet."""
    return Life(gateway)


def told(sandbox: Control, life: Life) -> Any:
    """Deliver that the subscription was made."""
    [event] = sandbox.events(life.id, type_="customer.subscription.created")
    deliver(event)
    return event


def row(event: Any) -> WebhookEvent:
    return WebhookEvent.objects.get(event_id=event["id"])


def now_due() -> None:
    """Let the time pass until everything that waits is due."""
    WebhookEvent.objects.filter(state="pending").update(due_at=clock.real_now())


def put_on_unknown_price(gateway: StripeGateway, life: Life) -> str:
    """Move the subscription to a price that no plan has."""
    price = gateway.create_price(
        product_id=gateway.list_products()[0]["id"],
        lookup_key=f"made-by-hand-{life.org_id}",
        amount="4200",
        currency="usd",
        interval="month",
        idempotency_key=life.subscriber.key(),
    )
    gateway.change_subscription(
        subscription_id=life.id,
        item_id=life.subscription["items"]["data"][0]["id"],
        price_id=price["id"],
        idempotency_key=life.subscriber.key(),
        end_trial=True,
    )
    return str(price["id"])


def break_off(sandbox: Control, life: Life) -> None:
    """Let Stripe answer a 500 whenever it is asked for the subscription, until that is cleared."""
    sandbox.fault("error", count=-1, path=f"/v1/subscriptions/{life.id}")


def test_all_due_events_of_one_object_are_claimed_together_and_fetched_once(
    sandbox: Control, gateway: StripeGateway, life: Life
) -> None:
    sandbox.travel(days=15)
    for event in sandbox.events(life.id):
        deliver(event)
    waiting = WebhookEvent.objects.filter(object_id=life.id, state="pending").count()

    claims_made = work_off()

    assert waiting > 1
    assert claims_made == 1
    assert WebhookEvent.objects.filter(state="processed").count() == waiting


def test_what_one_worker_is_claiming_another_leaves_to_it(sandbox: Control) -> None:
    deliver(an_event("customer.subscription.updated", about={"id": "sub_1"}))
    held = WebhookEvent.objects.get()

    # Another connection holds the row, as a worker does that is just claiming it.
    other = connection.copy()
    try:
        with transaction.atomic(), other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM webhooks_webhookevent FOR UPDATE")
            claimed = claims.claim(now=clock.real_now(), pk=held.pk)
    finally:
        other.close()

    assert claimed is None


def test_meanwhile_it_claims_what_is_due_of_other_objects(sandbox: Control) -> None:
    for name in ("sub_1", "sub_2"):
        deliver(an_event("customer.subscription.updated", about={"id": name}))
    with by_hand() as other:
        other.execute("SELECT 1 FROM webhooks_webhookevent WHERE object_id = 'sub_1' FOR UPDATE")

        claimed = claims.claim(now=clock.real_now())

    assert claimed is not None
    assert claimed.object_id == "sub_2"


def test_of_one_object_it_claims_what_nobody_else_is_claiming_and_waits_for_none(
    sandbox: Control,
) -> None:
    for _ in range(2):
        deliver(an_event("customer.subscription.updated", about={"id": "sub_1"}))
    first, second = WebhookEvent.objects.order_by("due_at", "pk")
    with by_hand() as other:
        other.execute("SELECT 1 FROM webhooks_webhookevent WHERE id = %s FOR UPDATE", (second.pk,))

        claimed = claims.claim(now=clock.real_now())

    assert claimed is not None
    assert [one.pk for one in claimed.events] == [first.pk]


def test_a_claimed_event_is_nobody_elses_until_the_lease_runs_out(sandbox: Control) -> None:
    deliver(an_event("customer.subscription.updated", about={"id": "sub_1"}))
    now = clock.real_now()
    first = claims.claim(now=now)

    meanwhile = claims.claim(now=now + claims.LEASE - timedelta(seconds=1))
    afterwards = claims.claim(now=now + claims.LEASE)

    assert first is not None
    assert meanwhile is None
    assert afterwards is not None


def test_what_is_being_written_down_is_claimed_by_nobody_though_its_lease_has_run_out(
    sandbox: Control,
) -> None:
    deliver(an_event("customer.subscription.updated", about={"id": "sub_1"}))
    now = clock.real_now()
    claimed = claims.claim(now=now)
    assert claimed is not None
    with transaction.atomic():
        assert claimed.held()

        meanwhile = in_thread(lambda: claims.claim(now=now + claims.LEASE)).result(5)

    assert meanwhile is None


def test_a_worker_killed_between_fetch_and_effects_leaves_the_event_to_the_next(
    sandbox: Control, gateway: StripeGateway, life: Life
) -> None:
    def end() -> None:
        raise Killed

    event = told(sandbox, life)
    slow = Between(gateway, "retrieve_subscription", end)
    with clients.swapped("stripe", slow), pytest.raises(Killed):
        work_off()
    left = row(event)
    at_once = work_off()
    WebhookEvent.objects.update(lease_until=clock.real_now())

    taken_over = work_off()

    assert (left.state, left.attempts) == ("pending", 1)
    assert left.lease_until is not None
    assert (at_once, taken_over) == (0, 1)
    assert row(event).state == "processed"
    assert known(life.id)["status"] == "trialing"


def test_effects_and_mark_are_committed_together_or_not_at_all(
    sandbox: Control, life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise Killed

    event = told(sandbox, life)
    # After the effects, before the mark.
    monkeypatch.setattr(processor, "settle", end)

    with pytest.raises(Killed):
        work_off()

    assert not Entitlement.objects.filter(org_id=life.org_id).exists()
    assert row(event).state == "pending"


def test_who_lost_the_lease_writes_nothing(
    sandbox: Control, gateway: StripeGateway, life: Life
) -> None:
    def another_takes_over() -> None:
        WebhookEvent.objects.update(lease_until=clock.real_now())
        with clients.swapped("stripe", gateway):
            assert work_off() == 1

    event = told(sandbox, life)
    slow = Between(gateway, "retrieve_subscription", another_takes_over)
    with structlog.testing.capture_logs() as logged, clients.swapped("stripe", slow):
        work_off()

    assert "webhook_lease_lost" in [one["event"] for one in logged]
    assert (row(event).state, row(event).attempts) == ("processed", 2)


def test_who_lost_the_lease_takes_nothing_from_who_has_it(sandbox: Control) -> None:
    event = an_event("customer.subscription.updated", about={"id": "sub_1"})
    deliver(event)
    now = clock.real_now()
    first = claims.claim(now=now)
    second = claims.claim(now=now + claims.LEASE)
    assert first is not None
    assert second is not None

    claims.give_back(first, error="TooLate", now=now)

    assert (row(event).error, row(event).lease_until) == ("", second.lease_until)
    with transaction.atomic():
        assert first.held() == []


def test_a_failure_keeps_the_event_with_the_errors_name_and_a_later_try(
    sandbox: Control, life: Life
) -> None:
    event = told(sandbox, life)
    sandbox.fault("error", path="/v1/subscriptions/*")
    before = clock.real_now()

    work_off()

    failed = row(event)
    assert (failed.state, failed.error, failed.attempts) == ("pending", "StripeFailed", 1)
    assert failed.lease_until is None
    assert before + timedelta(seconds=0.8) <= failed.due_at
    now_due()
    work_off()
    assert (row(event).state, row(event).error) == ("processed", "")


def test_tries_come_later_and_later_up_to_an_hour_and_never_all_at_once() -> None:
    waits = [[claims.wait_after(tries) for _ in range(50)] for tries in range(1, 12)]

    longest = [1, 4, 16, 64, 256, 1024, 3600, 3600, 3600, 3600, 3600]
    for most, some in zip(longest, waits, strict=True):
        assert all(0.8 * most <= one.total_seconds() <= most for one in some)
        assert len(set(some)) > 1


def test_poison_is_parked_after_eight_tries_and_delays_nobody_else(
    sandbox: Control, gateway: StripeGateway, life: Life
) -> None:
    other = Life(gateway)
    break_off(sandbox, life)
    poison = told(sandbox, life)
    healthy = told(sandbox, other)

    work_off()

    assert (row(poison).state, row(poison).error) == ("pending", "StripeFailed")
    assert (row(healthy).state, known(other.id)["status"]) == ("processed", "trialing")
    for _ in range(6):
        now_due()
        work_off()
    assert (row(poison).state, row(poison).attempts) == ("pending", 7)
    now_due()
    with structlog.testing.capture_logs() as logged:
        work_off()
    assert (row(poison).state, row(poison).attempts) == ("parked", 8)
    assert ("webhook_parked", "error") in [(one["event"], one["log_level"]) for one in logged]
    assert work_off() == 0


def test_the_way_out_of_being_parked_is_a_replay(
    sandbox: Control, gateway: StripeGateway, life: Life
) -> None:
    break_off(sandbox, life)
    poison = told(sandbox, life)
    WebhookEvent.objects.update(attempts=7)
    work_off()
    was = row(poison).state

    sandbox.clear_faults()
    replay([poison["id"]], by="test")
    work_off()

    assert was == "parked"
    assert (row(poison).state, row(poison).attempts) == ("processed", 1)
    assert known(life.id)["plan_code"] == "starter"


def test_an_event_that_kills_every_worker_is_parked_too(sandbox: Control, life: Life) -> None:
    event = told(sandbox, life)
    for _ in range(claims.MOST_ATTEMPTS):
        assert claims.claim(now=clock.real_now()) is not None
        WebhookEvent.objects.update(lease_until=clock.real_now())

    work_off()

    assert (row(event).state, row(event).error) == ("parked", "WorkerLost")
