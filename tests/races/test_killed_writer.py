"""kill -9 of a writer in the middle of a stream: sending all again counts each use once."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from config.contract import clock
from config.contract.clients import clients
from tests.races.conftest import Length
from tests.races.crew import Answer, Crew, Writer
from tests.races.ledger import (
    batch,
    copy_equals_truth,
    counter_of,
    single,
    sum_of_events,
    use,
)
from tests.support.cast import make_org
from usage.models import UsageEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]


@pytest.fixture
def doomed(transactional_db: None, tmp_path: Path) -> Iterator[Writer]:
    """A writer of its own, to be killed."""
    writer = Writer(tmp_path / "doomed.log", VALKEY_URL=settings.VALKEY_URL)
    writer.wait_until_ready()
    yield writer
    writer.close()


@pytest.mark.parametrize("together", [1, 20], ids=["singles", "batches"])
def test_what_a_killed_writer_sent_is_counted_once_when_sent_again(
    doomed: Writer, crew: Crew, length: Length, together: int
) -> None:
    total = length.of(400, 4_000)
    org = make_org(plan="pro")
    clients.copy.forget(org.id)
    at = clock.now()
    events = [use(org.id, f"r-{n}", at=at, value=n % 3 + 1) for n in range(total)]
    groups = [events[n : n + together] for n in range(0, total, together)]
    calls = [single(group[0]) if together == 1 else batch(org.id, group) for group in groups]
    heard: dict[int, Answer] = {}
    for position, answer in doomed.answers(org.tokens.access_token, calls, threads=4):
        heard[position] = answer
        if len(heard) == len(calls) // 3:
            doomed.kill()

    order = list(range(len(calls)))
    random.Random(total).shuffle(order)
    answers = crew.run(org.tokens.access_token, [calls[position] for position in order])

    again = dict(zip(order, answers, strict=True))
    assert all(answer.status == 200 for answer in answers)
    if together == 1:
        assert all(again[position].text == answer.text for position, answer in heard.items())
        repeats = sum(answer.replayed for answer in answers)
    else:
        repeats = sum(answer.body["data"]["duplicates"] for answer in answers)
    # What it was still writing when it died may be counted too, though nobody heard.
    assert len(heard) * together <= repeats < total
    counter = counter_of(org.id)
    assert UsageEvent.objects.count() == total
    assert counter.used == sum_of_events(counter) == sum(event["value"] for event in events)
    assert copy_equals_truth(clients.copy, counter)
