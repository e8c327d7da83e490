"""Random histories: anything happens at Stripe, most of what it tells is lost or late."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from billing.models import Subscription
from billing.stripe_gateway import StripeGateway
from config.contract import clock
from config.contract.errors import ApiError
from quotas.models import Entitlement
from tests.sandbox.server import Control
from tests.support.length import Length
from tests.webhooks.cast import deliver, work_off
from tests.webhooks.lives import (
    Life,
    expected,
    invoices_at_stripe,
    invoices_known,
    known,
)
from webhooks import gaps
from webhooks.models import EventCoverage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]
ENDED = ("canceled", "incomplete_expired")
STAGES = 5
#: Stripe lists the events of 30 days: so long may the gap filler be away.
MOST_DAYS = 29


class Story:
    """A life to which things happen at random."""

    def __init__(self, gateway: StripeGateway, chance: random.Random) -> None:
        self.life = Life(gateway)
        self._gateway = gateway
        self._chance = chance

    def go_on(self) -> None:
        """Let one thing happen; Stripe may refuse it."""
        happening: Callable[[Any], object] = self._chance.choice(
            [
                lambda at: self.life.subscriber.change(at, self._plan()),
                lambda at: self.life.subscriber.change(at, self._plan(), end_trial=True),
                lambda at: self.life.subscriber.use_card("pm_card_chargeCustomerFail"),
                lambda at: self.life.subscriber.use_card("pm_card_visa"),
                lambda at: self._gateway.cancel_subscription(subscription_id=at["id"]),
                lambda at: self._cancel_later(at, True),
                lambda at: self._cancel_later(at, False),
                self._schedule,
                self._release,
                lambda at: None,
            ]
        )
        try:
            running = self._running()
            if running is not None:
                happening(running)
            elif self._chance.random() < 0.7:
                self.life.subscriber.subscribe_now(self._plan())
        except ApiError:
            pass

    def _running(self) -> Any:
        listed = self._gateway.list_subscriptions(customer_id=self.life.subscriber.customer_id)
        return next((one for one in listed if one["status"] not in ENDED), None)

    def _plan(self) -> str:
        return self._chance.choice(["starter", "pro", "business"])

    def _cancel_later(self, at: Any, cancel: bool) -> None:
        self._gateway.set_cancel_at_period_end(
            subscription_id=at["id"], cancel=cancel, idempotency_key=self.life.subscriber.key()
        )

    def _schedule(self, at: Any) -> None:
        self._gateway.schedule_change(
            subscription=at,
            price_id=self.life.subscriber.price(self._plan()),
            idempotency_key=self.life.subscriber.key(),
        )

    def _release(self, at: Any) -> None:
        if at["schedule"]:
            self._gateway.release_schedule(
                schedule_id=at["schedule"], idempotency_key=self.life.subscriber.key()
            )

    def end(self) -> None:
        """Leave nothing behind that time would move."""
        running = self._running()
        if running is not None:
            self._gateway.cancel_subscription(subscription_id=running["id"])


def start_afresh(sandbox: Control) -> None:
    """Forget the stories told before: their events would have to be listed with every new one."""
    sandbox.reset()
    clock.set_offset(0)
    EventCoverage.objects.all().delete()


def tell(seed: int, count: int, sandbox: Control, gateway: StripeGateway) -> None:
    """Let so many stories happen at once; then everything known here is what Stripe has."""
    chance = random.Random(seed)
    start_afresh(sandbox)
    seen = len(sandbox.events())
    gaps.fill(now=clock.now())
    stories = [Story(gateway, chance) for _ in range(count)]
    late: list[Any] = []
    unfilled = 0
    for _ in range(STAGES):
        for story in stories:
            story.go_on()
        days = chance.choice([0, 1, 5, 16, 28])
        unfilled += days
        if unfilled > MOST_DAYS:
            gaps.fill(now=clock.now())
            unfilled = days
        sandbox.travel(days=days, seconds=chance.randint(1, 5000))
        news = sandbox.events()[seen:]
        seen += len(news)
        # A third is lost for good, a third arrives later, all in any order, some twice.
        arriving = [one for one in [*news, *late] if chance.random() < 0.4]
        late = [one for one in news if chance.random() < 0.5]
        chance.shuffle(arriving)
        for event in arriving:
            for _ in range(chance.choice([1, 1, 1, 2])):
                deliver(event)
        if chance.random() < 0.5:
            work_off()

    gaps.fill(now=clock.now())
    work_off()

    for story in stories:
        agree(story.life, sandbox, gateway)
        story.end()


def agree(life: Life, sandbox: Control, gateway: StripeGateway) -> None:
    """Compare all that is known of an organisation with Stripe."""
    listed = gateway.list_subscriptions(customer_id=life.subscriber.customer_id)
    mirrored = Subscription.objects.filter(org_id=life.org_id)
    assert {one["id"] for one in listed} == {one.stripe_subscription_id for one in mirrored}
    for one in listed:
        here, there = known(one["id"]), expected(sandbox, one["id"])
        del here["entitled"], there["entitled"]
        assert here == there
    leading = max(listed, key=lambda one: (one["status"] not in ENDED, one["created"]))
    entitlement = Entitlement.objects.get(org_id=life.org_id)
    assert (entitlement.status, entitlement.plan_code) == (
        leading["status"],
        leading["items"]["data"][0]["price"]["lookup_key"],
    )
    if not leading["schedule"]:
        assert entitlement.scheduled_plan_code == ""
    assert invoices_known({life.org_id}) == invoices_at_stripe(sandbox, {life.org_id})


def test_random_histories_with_losses_end_where_stripe_is_once_gaps_are_filled(
    length: Length, sandbox: Control, gateway: StripeGateway
) -> None:
    count = length.of(3, 20)

    # A smaller seed is no smaller story: there is nothing to shrink.
    @settings(
        max_examples=length.of(2, 100),
        derandomize=not length.full,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
    )
    @given(seed=st.integers(min_value=0, max_value=2**32))
    def histories(seed: int) -> None:
        tell(seed, count, sandbox, gateway)

    histories()
