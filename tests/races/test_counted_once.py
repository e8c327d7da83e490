"""Many writers in many processes: each use is counted once, or the caller was told no."""

import random
from collections import defaultdict
from typing import Any

import pytest

from config.contract import clock
from config.contract.clients import clients
from tests.races.conftest import Length
from tests.races.crew import Answer, Crew
from tests.races.ledger import batch, copy_equals_truth, counter_of, single, sum_of_events, use
from tests.support.cast import make_org
from usage.models import UsageEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]


def with_repeats(things: list[Any], total: int, chance: random.Random) -> list[Any]:
    """Fill up to `total` by repeating things, and mix."""
    mixed = [*things, *chance.choices(things, k=total - len(things))]
    chance.shuffle(mixed)
    return mixed


def test_sixteen_writers_count_each_use_once_up_to_the_last_unit(
    crew: Crew, length: Length
) -> None:
    total, units = length.of(1_000, 5_000), length.of(400, 2_000)
    org = make_org(plan="starter")
    org.use(10_000 - units)
    clients.copy.forget(org.id)
    at = clock.now()
    unique = [use(org.id, f"r-{n}", at=at) for n in range(total * 7 // 10)]
    events = with_repeats(unique, total, random.Random(total))

    answers = crew.run(org.tokens.access_token, [single(event) for event in events])

    by_id: dict[str, list[Answer]] = defaultdict(list)
    for event, answer in zip(events, answers, strict=True):
        by_id[event["request_id"]].append(answer)
    assert {answer.status for answer in answers} == {200, 429}
    for told in by_id.values():
        # A repeat is told what the first was told, the last unit's twin too.
        assert len({answer.status for answer in told}) == 1
        if told[0].status == 200:
            assert len({answer.text for answer in told}) == 1
            assert [answer.replayed for answer in told].count(False) == 1
    counted = [told[0].body["data"]["used"] for told in by_id.values() if told[0].status == 200]
    assert sorted(counted) == list(range(10_001 - units, 10_001))
    counter = counter_of(org.id)
    assert counter.used == sum_of_events(counter) == 10_000
    assert copy_equals_truth(clients.copy, counter)


def test_singles_and_batches_of_all_sizes_share_two_quotas(crew: Crew, length: Length) -> None:
    total = length.of(1_200, 6_000)
    org = make_org(included=total // 2)
    clients.copy.forget(org.id)
    at = clock.now()
    chance = random.Random(total)
    metrics = ("api_call", "compute_ms")
    unique = [
        use(org.id, f"r-{n}", at=at, value=chance.randint(1, 5), metric=chance.choice(metrics))
        for n in range(total * 7 // 10)
    ]
    events = with_repeats(unique, total, chance)
    groups: list[list[dict[str, Any]]] = []
    while events:
        size = chance.choice((1, 1, 1, 2, 7, 40))
        groups.append(events[:size])
        del events[:size]

    answers = crew.run(
        org.tokens.access_token,
        [single(group[0]) if len(group) == 1 else batch(org.id, group) for group in groups],
    )

    verdicts: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for group, answer in zip(groups, answers, strict=True):
        for request_id, verdict in verdicts_of(group, answer):
            verdicts[request_id].add(verdict)
    assert all(len(said) == 1 for said in verdicts.values())
    for metric in metrics:
        counter = counter_of(org.id, metric)
        ours = [event for event in unique if event["metric"] == metric]
        taken = [event for event in ours if was_accepted(verdicts[event["request_id"]])]
        assert counter.used == sum_of_events(counter) == sum(event["value"] for event in taken)
        assert counter.used <= counter.limit
        # Whoever was refused did not fit: at most four units are left over.
        assert len(taken) == len(ours) or counter.limit - counter.used < 5
        assert copy_equals_truth(clients.copy, counter)


def was_accepted(verdicts: set[tuple[Any, ...]]) -> bool:
    """Tell what the one verdict was."""
    [verdict] = verdicts
    return bool(verdict[0] == "accepted")


def verdicts_of(group: list[dict[str, Any]], answer: Answer) -> list[tuple[str, tuple[Any, ...]]]:
    """Return what each event of a call was told, without whether it was a repeat."""
    if len(group) == 1:
        assert answer.status in (200, 429)
        results = [answer.body.get("data", {}) if answer.status == 200 else answer.body]
    else:
        assert answer.status == 200
        results = answer.body["data"]["results"]
    told: list[tuple[str, tuple[Any, ...]]] = []
    for event, result in zip(group, results, strict=True):
        if "error" in result:
            verdict: tuple[Any, ...] = (result["error"]["code"],)
        else:
            verdict = ("accepted", result["periodKey"], result["used"], result["remaining"])
        told.append((event["request_id"], verdict))
    return told


@pytest.mark.parametrize("together", [1, 40], ids=["singles", "batches"])
def test_the_same_ids_on_two_metrics_count_on_one_and_conflict_on_the_other(
    crew: Crew, length: Length, together: int
) -> None:
    total = length.of(400, 4_000)
    org = make_org(plan="pro")
    clients.copy.forget(org.id)
    at = clock.now()
    ids = [f"r-{n}" for n in range(total)]
    calls, groups = [], []
    for first in range(0, total, together):
        for metric in ("api_call", "compute_ms"):
            group = ids[first : first + together]
            if metric == "compute_ms":
                group = group[::-1]  # the other way round: keys must not lock each other out
            events = [use(org.id, one, at=at, metric=metric) for one in group]
            calls.append(single(events[0]) if together == 1 else batch(org.id, events))
            groups.append(events)

    answers = crew.run(org.tokens.access_token, calls)

    told: dict[str, list[str]] = defaultdict(list)
    for events, answer in zip(groups, answers, strict=True):
        if together == 1:
            assert answer.status in (200, 409), answer.text
            results = [answer.body]
        else:
            assert answer.status == 200, answer.text
            results = answer.body["data"]["results"]
        for event, result in zip(events, results, strict=True):
            told[event["request_id"]].append(result.get("error", {}).get("code", "counted"))
    assert {tuple(sorted(codes)) for codes in told.values()} == {("REQUEST_ID_CONFLICT", "counted")}
    counters = [counter_of(org.id, metric) for metric in ("api_call", "compute_ms")]
    assert sum(counter.used for counter in counters) == total == UsageEvent.objects.count()
    for counter in counters:
        assert counter.used == sum_of_events(counter)
        # A metric that lost every race counted nothing, and has nothing to publish.
        assert copy_equals_truth(clients.copy, counter) or not counter.used
