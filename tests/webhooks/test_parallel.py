"""Many deliveries at once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from billing.stripe_gateway import StripeGateway
from tests.sandbox.server import Control
from tests.support.cast import data
from tests.support.length import Length
from tests.webhooks.cast import client, encoded, send, signature, work_off
from tests.webhooks.lives import Life, expected, known
from webhooks.models import WebhookEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]


def deliver_in_parallel(times: int, count: int, sandbox: Control, gateway: StripeGateway) -> None:
    """Deliver the events of `count` subscriptions' creation, each so many times at once."""
    lives = [Life(gateway) for _ in range(count)]
    events = [sandbox.events(life.id, type_="customer.subscription.created")[0] for life in lives]
    client()  # loads the middleware once, not in every thread

    def deliver(event: Any) -> tuple[int, str, bool]:
        body = encoded(event)
        try:
            response = send(body, signature(body))
            answer = data(response)
            return response.status_code, answer["eventId"], answer["duplicate"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        for event in events:
            answers = list(pool.map(deliver, [event] * times))
            assert {status for status, _, _ in answers} == {202}
            assert Counter(duplicate for _, _, duplicate in answers) == {
                False: 1,
                True: times - 1,
            }
    assert WebhookEvent.objects.count() == count
    assert work_off() == count
    assert all(known(life.id) == expected(sandbox, life.id) for life in lives)


def test_parallel_deliveries_of_one_event_are_one_row_and_one_effect(
    length: Length, sandbox: Control, gateway: StripeGateway
) -> None:
    deliver_in_parallel(50, length.of(4, 200), sandbox, gateway)
