"""What Prometheus is told of the inbox, and what is logged for somebody to look at."""

from collections import Counter
from datetime import timedelta

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from config.contract import clock
from tests.sandbox.server import Control
from tests.webhooks.cast import an_event, client, deliver, work_off
from webhooks.claims import MOST_ATTEMPTS
from webhooks.models import EventCoverage, WebhookEvent
from webhooks.replay import replay

pytestmark = pytest.mark.django_db(transaction=True)


def exposed() -> list[Sample]:
    """Return what Prometheus would scrape of webhooks."""
    text = client().get("/metrics").content.decode()
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return [one for one in found if one.name.startswith("metergate_webhooks_")]


def outcomes() -> Counter[str]:
    """Return how often what became of an event."""
    return Counter(
        {
            one.labels["outcome"]: int(one.value)
            for one in exposed()
            if one.name == "metergate_webhooks_total"
        }
    )


def inbox() -> dict[str, float]:
    """Return the figures of the inbox as it is now."""
    return {
        one.name.removeprefix("metergate_webhooks_"): one.value
        for one in exposed()
        if "outcome" not in one.labels
    }


def an_update(object_id: str = "sub_1") -> dict[str, object]:
    return an_event("customer.subscription.updated", about={"id": object_id})


def test_each_delivery_is_counted_by_what_became_of_it() -> None:
    before = outcomes()
    event = an_update()

    deliver(event)
    deliver(event)
    deliver(an_event("payment_method.attached"))
    deliver(an_event("customer.subscription.updated", livemode=True))

    assert outcomes() - before == Counter(received=1, duplicate=1, ignored=1, refused=1)


def test_each_attempt_is_counted_by_what_became_of_it(sandbox: Control) -> None:
    before = outcomes()
    deliver(an_update())
    sandbox.fault("error", path="/v1/subscriptions/*")
    work_off()
    WebhookEvent.objects.update(due_at=clock.real_now(), attempts=MOST_ATTEMPTS - 1)
    sandbox.fault("error", path="/v1/subscriptions/*")
    work_off()
    replay([WebhookEvent.objects.get().event_id], by="test")

    work_off()

    assert outcomes() - before == Counter(received=1, retried=1, parked=1, processed=1)


def test_what_waits_and_for_how_long_is_read_from_the_inbox() -> None:
    deliver(an_update("sub_1"))
    deliver(an_update("sub_2"))
    deliver(an_update("sub_3"))
    WebhookEvent.objects.filter(object_id="sub_1").update(state="parked")
    WebhookEvent.objects.filter(object_id="sub_2").update(
        due_at=clock.real_now() - timedelta(minutes=5)
    )

    found = inbox()

    assert (found["pending"], found["parked"]) == (2, 1)
    assert 300 <= found["lag_seconds"] < 600


def test_an_inbox_that_is_worked_off_has_no_lag() -> None:
    assert (inbox()["pending"], inbox()["lag_seconds"]) == (0, 0)


def test_the_age_of_the_last_comparison_with_stripe_is_told_once_there_was_one() -> None:
    never = inbox()
    EventCoverage.objects.create(
        covered_to=clock.now() - timedelta(hours=3), lease_until=clock.real_now()
    )

    assert "gap_seconds" not in never
    assert 3 * 3600 <= inbox()["gap_seconds"] < 4 * 3600


def test_a_replayed_event_waits_behind_what_is_due_already(sandbox: Control) -> None:
    old = an_update("sub_1")
    deliver(old)
    work_off()
    WebhookEvent.objects.update(due_at=clock.real_now() - timedelta(days=30))
    deliver(an_update("sub_2"))

    replay([str(old["id"])], by="test")

    waiting = WebhookEvent.objects.filter(state="pending").order_by("due_at")
    assert [one.object_id for one in waiting] == ["sub_2", "sub_1"]
    assert inbox()["lag_seconds"] < 600


def test_an_event_that_killed_its_workers_is_an_error_in_the_log() -> None:
    deliver(an_update())
    WebhookEvent.objects.update(attempts=MOST_ATTEMPTS)

    with structlog.testing.capture_logs() as logged:
        work_off()

    [parked] = [one for one in logged if one["event"] == "webhook_parked"]
    assert (parked["log_level"], parked["error"]) == ("error", "WorkerLost")
