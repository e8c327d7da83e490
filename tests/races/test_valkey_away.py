"""Valkey killed or hanging under load: the same decisions, and a copy that becomes true again."""

import json
import re
import time
from pathlib import Path

import pytest

from config.contract import clock
from config.contract.copy import OrgCopy
from tests.races.conftest import Length
from tests.races.crew import Answer, Call, Crew
from tests.races.ledger import counter_of, single, sum_of_events, use, wait_for_the_copy
from tests.races.valkeys import OwnValkey
from tests.support.cast import Org, make_org

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]


def ask(org: Org, value: int = 1) -> Call:
    return Call(
        "/api/quota/check", json.dumps({"orgId": org.id, "metric": "api_call", "value": value})
    )


def mixed_load(org: Org, size: int) -> list[Call]:
    """Three uses, one of them a repeat, and a check; over and over."""
    at = clock.now()
    calls: list[Call] = []
    for n in range(size // 4):
        calls += [
            single(use(org.id, f"r-{2 * n}", at=at)),
            single(use(org.id, f"r-{2 * n + 1}", at=at)),
            single(use(org.id, f"r-{n}", at=at)),
            ask(org),
        ]
    return calls


def assert_decided_right(org: Org, answers: list[Answer], size: int) -> None:
    """Every answer is an answer, and exactly the included units were counted."""
    assert {answer.status for answer in answers} <= {200, 429}
    assert {answer.code for answer in answers if answer.status == 429} == {"RATE_LIMITED"}
    uses = [answer for n, answer in enumerate(answers) if n % 4 != 3]
    counted = {
        answer.body["data"]["used"] for answer in uses if answer.status == 200
    }  # a repeat says what the first said
    assert counted == set(range(1, size // 4 + 1))
    counter = counter_of(org.id)
    assert counter.used == sum_of_events(counter) == counter.limit == size // 4


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_valkey_lost_under_load_changes_no_decision_and_is_made_true_again(
    shaken_crew: Crew, own_valkey: OwnValkey, length: Length, how: str
) -> None:
    size = length.of(800, 6_000)
    org = make_org(included=size // 4)
    calls = mixed_load(org, size)

    # Lost early, so that most of the counting happens without it.
    lose = own_valkey.kill if how == "kill" else own_valkey.pause
    answers = shaken_crew.run(org.tokens.access_token, calls, at={size // 10: lose})

    assert_decided_right(org, answers, size)
    # Nobody calls any more: only what the writers remember can put the copy right.
    if how == "kill":
        own_valkey.start()
    else:
        own_valkey.resume()
    wait_for_the_copy(OrgCopy(own_valkey.url), counter_of(org.id))


def test_valkey_lost_and_back_under_load_again_and_again(
    shaken_crew: Crew, own_valkey: OwnValkey, length: Length
) -> None:
    size = length.of(1_200, 8_000)
    org = make_org(included=size // 4)
    calls = mixed_load(org, size)
    eighth = size // 8

    answers = shaken_crew.run(
        org.tokens.access_token,
        calls,
        at={
            eighth: own_valkey.kill,
            2 * eighth: own_valkey.start,
            3 * eighth: own_valkey.pause,
            4 * eighth: own_valkey.resume,
            5 * eighth: own_valkey.kill,
            6 * eighth: own_valkey.start,
        },
    )

    assert_decided_right(org, answers, size)
    wait_for_the_copy(OrgCopy(own_valkey.url), counter_of(org.id))


def test_a_denial_reads_the_same_without_valkey(shaken_crew: Crew, own_valkey: OwnValkey) -> None:
    org = make_org(included=3)
    calls = [single(use(org.id, f"r-{n}", at=clock.now())) for n in range(4)]
    shaken_crew.run(org.tokens.access_token, calls, threads=1)

    [with_copy] = shaken_crew.run(org.tokens.access_token, [ask(org)])
    own_valkey.kill()
    [without] = shaken_crew.run(org.tokens.access_token, [ask(org)])

    assert (with_copy.status, without.status) == (429, 429)
    for answer in (with_copy, without):
        assert answer.body["data"] == {"allow": False, "remaining": 0}
    assert with_copy.body["error"] == without.body["error"]


def test_a_hanging_valkey_makes_the_first_requests_wait_and_not_each_one(
    shaken_crew: Crew, own_valkey: OwnValkey, length: Length
) -> None:
    size = length.of(400, 3_000)
    org = make_org(included=size)
    shaken_crew.run(org.tokens.access_token, [ask(org)] * 4)
    own_valkey.pause()

    answers = shaken_crew.run(org.tokens.access_token, mixed_load(org, size))

    assert {answer.status for answer in answers} == {200}
    waited = sum(failures(writer_metrics) for writer_metrics in metrics_of(shaken_crew))
    # The first requests of each thread find out; from then on a thread of its own
    # does the waiting. Slack for a machine too busy to run that thread in time.
    assert waited <= 2 * 4 * 3 < size / 10


def test_a_quota_spent_while_valkey_hung_is_spent_when_it_goes_on(
    transactional_db: None, own_valkey: OwnValkey, tmp_path: Path
) -> None:
    org = make_org(included=4)
    crew = Crew(2, tmp_path, VALKEY_URL=own_valkey.url, COPY_TTL="2")
    try:
        crew.run(org.tokens.access_token, [ask(org)] * 8)
        own_valkey.pause()
        calls = [single(use(org.id, f"r-{n}", at=clock.now())) for n in range(4)]
        counted = crew.run(org.tokens.access_token, calls, threads=1)
        time.sleep(4)  # so long is the outage: longer than any copy lives
        own_valkey.resume()

        answers = [
            answer
            for _ in range(10)
            for answer in crew.run(org.tokens.access_token, [ask(org)] * 8)
        ]
    finally:
        crew.close()

    assert {answer.status for answer in counted} == {200}
    assert {answer.status for answer in answers} == {429}


def metrics_of(crew: Crew) -> list[str]:
    """Return what each writer would tell Prometheus."""
    return [answer.text for answer in crew.run("", [Call("/metrics")] * len(crew.writers))]


def failures(metrics: str) -> float:
    """Return how often a process waited for Valkey in vain."""
    return sum(
        float(value)
        for value in re.findall(r"^metergate_copy_failures_total\{.*\} (\S+)$", metrics, re.M)
    )
