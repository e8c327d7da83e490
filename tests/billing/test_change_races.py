"""Many changes of one organisation at once: one is made, and everybody learns of it."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest
from django.conf import settings

from billing.changes import engine
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from tests.billing.breaking import breaking
from tests.billing.caller import calling, make_calls
from tests.billing.owners import Owner, live_subscriptions, paid, unfinished
from tests.billing.test_change_slow import in_a_thread
from tests.sandbox.server import Control
from tests.support.callers import as_configured, room_for
from tests.support.cast import data, error

CROWD = 20
KEYS = {
    "without keys": [None] * CROWD,
    "under one key": ["the same"] * CROWD,
    "under a key each": [f"key-{n}" for n in range(CROWD)],
}
each_way = pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS.keys())


def job(owner: Owner, keys: Sequence[str | None]) -> dict[str, Any]:
    """Return what a process is told: upgrade to pro, once per key."""
    return {
        "token": owner.tokens.access_token,
        "path": "/api/plans/upgrade",
        "body": json.dumps({"orgId": owner.id, "newPlanCode": "pro"}),
        "keys": list(keys),
    }


def updates(sandbox: Control, owner: Owner) -> int:
    """Count how often the plan of the subscription was changed at Stripe."""
    events = sandbox.events(
        owner.mirror.stripe_subscription_id, type_="customer.subscription.updated"
    )
    return sum("items" in one["data"]["previous_attributes"] for one in events)


def assert_one_upgrade(answers: list[dict[str, Any]], owner: Owner, sandbox: Control) -> None:
    """Fail unless all ended with the same 200, none met a 5xx, and Stripe charged once."""
    assert len(answers) == CROWD
    assert {one["statuses"][-1] for one in answers} == {200}
    assert {status for one in answers for status in one["statuses"]} <= {200, 409}
    assert len({one["body"] for one in answers}) == 1
    assert json.loads(answers[0]["body"])["data"]["planCode"] == "pro"
    assert updates(sandbox, owner) == 1
    assert paid(sandbox) == [9900]
    assert unfinished() == 0


@each_way
def test_twenty_upgrades_in_one_process_are_one(
    owner: Owner, sandbox: Control, keys: Sequence[str | None]
) -> None:
    web = Transport(api_key=settings.STRIPE_API_KEY, base_url=sandbox.url, callers=as_configured())

    with clients.swapped("stripe", StripeGateway(web)):
        answers = make_calls(job(owner, keys))

    assert_one_upgrade(answers, owner, sandbox)


@each_way
def test_twenty_upgrades_in_two_processes_are_one(
    owner: Owner, sandbox: Control, keys: Sequence[str | None]
) -> None:
    with calling(sandbox.url) as one, calling(sandbox.url) as other:
        one.wait_until_ready()
        other.wait_until_ready()
        one.start(job(owner, keys[::2]))
        other.start(job(owner, keys[1::2]))
        answers = [*one.answers(), *other.answers()]

    assert_one_upgrade(answers, owner, sandbox)


def test_who_finds_no_place_to_wait_is_sent_away_at_once(owner: Owner, sandbox: Control) -> None:
    with (
        breaking(sandbox, at=2, how="late", callers=room_for(2)) as wire,
        ThreadPoolExecutor(6) as pool,
    ):
        first = in_a_thread(pool, lambda: owner.upgrade("pro"))
        wire.wait()
        others = [in_a_thread(pool, lambda: owner.upgrade("business")) for _ in range(5)]
        at_once = [one.result() for _, one in zip(range(4), as_completed(others), strict=False)]
        wire.let_through()
        first_answer = first.result()
        [waited] = [one.result() for one in others if one.result() not in at_once]

    assert data(first_answer)["planCode"] == "pro"
    for response in at_once:
        assert (response.status_code, response.headers["Retry-After"]) == (409, "1")
        assert error(response)["code"] == "PLAN_CHANGE_IN_PROGRESS"
    # It came to its turn, or its three seconds were over before.
    assert waited.status_code in (200, 409)


def test_the_other_changes_of_an_organisation_wait_for_the_one_that_is_made(
    owner: Owner, sandbox: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the contract's three seconds: a busy machine must not end the wait.
    monkeypatch.setattr(engine, "WAIT_SECONDS", 30.0)
    callers = as_configured()
    share = settings.STRIPE_CALLERS["places_per_org"]

    with (
        breaking(sandbox, at=2, how="late", callers=callers) as wire,
        ThreadPoolExecutor(share) as pool,
    ):
        first = in_a_thread(pool, lambda: owner.upgrade("pro"))
        wire.wait()
        others = [in_a_thread(pool, lambda: owner.upgrade("pro")) for _ in range(share - 1)]
        while callers.placed(owner.id) < share:
            assert not any(one.done() for one in others), "one was sent away"
        wire.let_through()
        answers = [one.result() for one in (first, *others)]

    assert [one.status_code for one in answers] == [200] * share
    assert len({one.content for one in answers}) == 1
    assert updates(sandbox, owner) == 1
    assert paid(sandbox) == [9900]


def test_opposite_changes_at_once_leave_one_consistent_state(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    asks = [
        lambda: owner.upgrade("business"),
        lambda: owner.downgrade("starter"),
        lambda: owner.cancel("period_end"),
        lambda: owner.resume(),
    ] * 3

    with ThreadPoolExecutor(len(asks)) as pool:
        answers = [one.result() for one in [in_a_thread(pool, ask) for ask in asks]]

    assert {one.status_code for one in answers} <= {200, 409}
    assert len(live_subscriptions(sandbox)) == 1
    assert len(paid(sandbox)) <= 2
    assert unfinished() == 0


def test_two_subscriptions_asked_for_at_once_are_one(owner: Owner, sandbox: Control) -> None:
    owner.cancel("now")
    asks = [lambda: owner.subscribe("pro"), lambda: owner.subscribe("business")] * 3

    with ThreadPoolExecutor(len(asks)) as pool:
        answers = [one.result() for one in [in_a_thread(pool, ask) for ask in asks]]

    assert {one.status_code for one in answers} <= {200, 409}
    assert len(live_subscriptions(sandbox)) == 1
    assert len(paid(sandbox)) == 1
    assert unfinished() == 0
