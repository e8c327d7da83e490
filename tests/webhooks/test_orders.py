"""Stripe promises neither order nor uniqueness: every order ends where Stripe is."""

from collections.abc import Sequence
from itertools import permutations

import pytest

from billing.stripe_gateway import StripeGateway
from tests.sandbox.server import Control
from tests.support.length import Length
from tests.webhooks.cast import deliver, work_off
from tests.webhooks.lives import STAGES, Life, expected, known, live_on, telling
from webhooks.models import WebhookEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]

Order = tuple[int, ...]
ORDERS: list[Order] = list(permutations(range(len(STAGES))))


def deliver_in_orders(orders: Sequence[Order], sandbox: Control, gateway: StripeGateway) -> None:
    """Live one life per order; each event arrives as early as its order lets it, one twice."""
    lives = [Life(gateway) for _ in orders]
    told: list[dict[int, object]] = [{} for _ in lives]
    sent = [0 for _ in lives]

    def after(stage: int) -> None:
        for number, (life, order) in enumerate(zip(lives, orders, strict=True)):
            told[number][stage] = telling(sandbox.events(life.id), stage)
            while sent[number] < len(order) and order[sent[number]] <= stage:
                position = sent[number]
                event = told[number][order[position]]
                deliver(event)
                if position == number % len(order):
                    assert deliver(event)["duplicate"]
                work_off()
                sent[number] += 1

    live_on(lives, sandbox, gateway, after=after)

    assert [known(life.id) for life in lives] == [expected(sandbox, life.id) for life in lives]
    assert {known(life.id)["entitled"] for life in lives} == {("canceled", "pro")}
    events = WebhookEvent.objects
    assert events.count() == events.filter(state="processed").count() == 5 * len(orders)


def test_events_of_a_subscriptions_life_end_where_stripe_is_in_any_order(
    length: Length, sandbox: Control, gateway: StripeGateway
) -> None:
    # Of the 120, every eleventh in the short run.
    deliver_in_orders(ORDERS[:: length.of(11, 1)], sandbox, gateway)
