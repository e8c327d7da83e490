"""What nobody delivered is taken in from Stripe's own list."""

from datetime import timedelta
from typing import Any

import pytest

from billing.stripe_gateway import StripeGateway
from config.contract import clock
from config.contract.errors import Unavailable
from tests.sandbox.server import Control
from tests.support.database import rewrite
from tests.webhooks.cast import deliver, work_off
from tests.webhooks.lives import (
    Life,
    expected,
    invoices_at_stripe,
    invoices_known,
    known,
)
from webhooks import gaps, tasks
from webhooks.handlers import STRIPES_TYPES
from webhooks.models import EventCoverage, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose subscription begins as a trial; no event has arrived yet.

    The inbox was compared with Stripe's list just before.
    """
    now = clock.now()
    EventCoverage.objects.create(covered_to=now, lease_until=now)
    return Life(gateway)


def handled(sandbox: Control) -> list[Any]:
    return [event for event in sandbox.events() if event["type"] in STRIPES_TYPES]


def inbox() -> set[str]:
    return set(WebhookEvent.objects.values_list("event_id", flat=True))


def test_everything_that_was_lost_is_taken_in_and_processed(life: Life, sandbox: Control) -> None:
    sandbox.travel(days=15)
    lost = handled(sandbox)

    tasks.fill_gaps()
    work_off()

    assert inbox() == {event["id"] for event in lost}
    assert known(life.id) == expected(sandbox, life.id)
    assert invoices_known({life.org_id}) == invoices_at_stripe(sandbox, {life.org_id})


def test_what_arrived_is_not_taken_in_again(life: Life, sandbox: Control) -> None:
    [one, *others] = handled(sandbox)
    deliver(one, **{"x-correlation-id": "delivered"})

    filled = gaps.fill(now=clock.now())

    assert filled == gaps.Filled(listed=1 + len(others), taken_in=len(others), complete=True)
    assert WebhookEvent.objects.get(event_id=one["id"]).correlation_id == "delivered"
    assert gaps.fill(now=clock.now()) == gaps.Filled(1 + len(others), 0, complete=True)


def test_an_event_taken_in_and_delivered_later_is_a_duplicate(life: Life, sandbox: Control) -> None:
    gaps.fill(now=clock.now())

    assert deliver(handled(sandbox)[0])["duplicate"] is True


def test_the_next_comparison_begins_where_the_last_ended_with_an_overlap(
    life: Life, sandbox: Control
) -> None:
    sandbox.travel(hours=2)
    gaps.fill(now=clock.now())
    before = EventCoverage.objects.get().covered_to
    listed_late = handled(sandbox)[0]["id"]
    rewrite("DELETE FROM webhooks_webhookevent WHERE event_id = %s", listed_late)
    sandbox.travel(days=15)

    gaps.fill(now=clock.now())

    after = EventCoverage.objects.get().covered_to
    assert before is not None
    assert after is not None
    assert after - before >= timedelta(days=15)
    # Made two hours before the first comparison ended: outside the overlap.
    assert inbox() == {event["id"] for event in handled(sandbox)} - {listed_late}


def test_more_than_a_page_of_lost_events_is_taken_in(
    sandbox: Control, gateway: StripeGateway
) -> None:
    for _ in range(60):
        Life(gateway)
    lost = handled(sandbox)

    gaps.fill(now=clock.now())

    assert len(lost) > 200
    assert inbox() == {event["id"] for event in lost}


def test_the_first_comparison_of_all_reaches_back_three_days(
    sandbox: Control, gateway: StripeGateway
) -> None:
    Life(gateway)
    before = len(sandbox.events())
    sandbox.travel(days=4)
    Life(gateway)

    gaps.fill(now=clock.now())

    young = sandbox.events()[before:]
    assert inbox() == {event["id"] for event in young if event["type"] in STRIPES_TYPES}


def test_a_comparison_that_stripe_cut_short_is_taken_up_where_it_was(
    life: Life, sandbox: Control
) -> None:
    sandbox.travel(days=15)
    sandbox.fault("cut_before", path="/v1/events*")
    with pytest.raises(Unavailable):
        gaps.fill(now=clock.now())

    tasks.fill_gaps()

    assert inbox() == {event["id"] for event in handled(sandbox)}


def test_a_comparison_whose_time_ran_out_says_so_and_goes_on_next_time(
    life: Life, sandbox: Control
) -> None:
    sandbox.travel(days=15)

    begun = gaps.fill(now=clock.now(), seconds=0.0)
    ended = gaps.fill(now=clock.now())

    assert begun == gaps.Filled(0, 0, complete=False)
    assert ended is not None
    assert ended.complete


def test_only_one_process_compares_at_a_time(sandbox: Control) -> None:
    EventCoverage.objects.create(lease_until=clock.real_now() + timedelta(seconds=60))

    assert gaps.fill(now=clock.now()) is None


def test_a_comparison_may_be_asked_to_reach_back_further(life: Life, sandbox: Control) -> None:
    sandbox.travel(days=20)
    gaps.fill(now=clock.now())
    rewrite("DELETE FROM webhooks_webhookevent")

    gaps.fill(now=clock.now(), since=clock.now() - timedelta(days=25))

    assert inbox() == {event["id"] for event in handled(sandbox)}


def test_what_was_parked_while_stripe_was_away_gets_another_round(
    life: Life, sandbox: Control
) -> None:
    [away, wrong] = sandbox.events(life.id)[:1] + sandbox.events(life.subscriber.customer_id)[-1:]
    for event, error in ((away, "Unavailable"), (wrong, "UnknownPrice")):
        deliver(event)
        WebhookEvent.objects.filter(event_id=event["id"]).update(state="parked", error=error)

    tasks.fill_gaps()

    states = dict(WebhookEvent.objects.values_list("event_id", "state"))
    assert (states[away["id"]], states[wrong["id"]]) == ("pending", "parked")


def test_while_stripe_is_away_what_was_parked_stays(life: Life, sandbox: Control) -> None:
    [event] = sandbox.events(life.id)
    deliver(event)
    WebhookEvent.objects.update(state="parked", error="Unavailable")
    sandbox.fault("cut_before", path="/v1/events*")

    tasks.fill_gaps()

    assert WebhookEvent.objects.get().state == "parked"


def test_stripe_is_asked_for_no_event_it_would_not_know() -> None:
    assert all(not one.startswith("metergate") for one in STRIPES_TYPES)
