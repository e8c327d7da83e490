"""The answer of a change says what was bought, whatever event is worked on meanwhile.

Stripe's own event of the change is lost each time: nobody fetches once more afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from billing import prices
from billing.models import Plan
from tests.billing.interleaving import Interleaved, Schedule, interleaved
from tests.billing.kinds import KINDS, Kind, assert_agrees
from tests.billing.owners import Owner, new_owner, unfinished, use_card
from tests.sandbox.server import Control
from tests.support.cast import data

#: More moments than any change has requests: what is left is done after the answer.
AFTER = 24
KEY = "bought-once"


@dataclass(frozen=True)
class Verb:
    """A change, under a key where its route takes one."""

    prepare: Callable[[Owner, Control], Any]
    ask: Callable[[Owner], Any]
    says: dict[str, Any]
    has_key: bool = True


def _as(name: str, ask: Callable[[Owner], Any], *, has_key: bool = True) -> Verb:
    kind: Kind = KINDS[name]
    return Verb(lambda owner, _: kind.prepare(owner), ask, dict(kind.answers), has_key)


def _paused(owner: Owner, sandbox: Control) -> None:
    sandbox.travel(days=15)
    owner.converge()
    assert owner.mirror.status == "paused"
    use_card(owner, "pm_card_visa")


VERBS = {
    "upgrade": _as("upgrade", lambda owner: owner.upgrade("pro", key=KEY)),
    "upgrade over a downgrade": _as(
        "upgrade over a downgrade", lambda owner: owner.upgrade("business", key=KEY)
    ),
    "downgrade": _as("downgrade", lambda owner: owner.downgrade("starter", key=KEY)),
    "keep_plan": _as("keep_plan", lambda owner: owner.keep_plan(), has_key=False),
    "cancel at the period's end": _as(
        "cancel at the period's end", lambda owner: owner.cancel("period_end", key=KEY)
    ),
    "cancel now": _as("cancel now", lambda owner: owner.cancel("now", key=KEY)),
    "resume": _as("resume", lambda owner: owner.resume(key=KEY)),
    "resume a paused one": Verb(
        _paused, lambda owner: owner.resume(key=KEY), {"status": "active", "endsAt": None}
    ),
    "subscribe": _as("subscribe", lambda owner: owner.subscribe("pro", key=KEY)),
}
each_verb = pytest.mark.parametrize("name", VERBS)


@pytest.fixture(autouse=True)
def prices_known(transactional_db: None, sandbox: Control) -> None:
    """Look the prices up once: a change that has to do so has more moments than the next."""
    for plan in Plan.objects.all():
        prices.price_id(plan)


def prepared(verb: Verb, name: str, sandbox: Control) -> Owner:
    """Return an owner for whom the change is possible."""
    sandbox.settings(auto_card=name != "resume a paused one")
    try:
        owner = new_owner()
    finally:
        sandbox.settings(auto_card=True)
    verb.prepare(owner, sandbox)
    return owner


def make(name: str, sandbox: Control, moments: list[tuple[int, int, int]]) -> Interleaved:
    """Make a change while events are worked on at these moments; returns the wire it went over.

    Fails unless answer, entitlement, stored replay and quota say what Stripe has.
    """
    verb = VERBS[name]
    owner = prepared(verb, name, sandbox)
    schedule = Schedule(owner, sandbox, moments)
    with interleaved(sandbox, schedule.pass_moment) as wire:
        response = verb.ask(owner)
    schedule.finish()
    answer = data(response)
    assert {field: answer[field] for field in verb.says} == verb.says
    assert_agrees(owner, sandbox)
    _assert_says_what_holds(answer, owner)
    if verb.has_key:
        again = verb.ask(owner)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert data(again) == answer
    assert unfinished() == 0
    return wire


def _assert_says_what_holds(answer: dict[str, Any], owner: Owner) -> None:
    shown, checked = owner.entitlements(), owner.check()
    if "planCode" in answer:
        assert shown["planCode"] == answer["planCode"]
        assert data(checked)["remaining"] == answer["remaining"]
    if "status" in answer:
        assert shown["status"] == answer["status"]
        assert checked.status_code == (402 if answer["status"] == "canceled" else 200)
    if "effectiveAt" in answer:
        assert shown["scheduledChange"]["effectiveAt"] == answer["effectiveAt"]
    if "cancelled" in answer:
        assert shown["scheduledChange"] is None


@pytest.mark.torture
@pytest.mark.parametrize("name", VERBS)
def test_an_event_worked_on_meanwhile_changes_neither_the_answer_nor_what_holds(
    sandbox: Control, full: bool, name: str
) -> None:
    wire = make(name, sandbox, [])

    for moment in range(wire.moments) if full else [wire.before_the_write]:
        make(name, sandbox, [(moment, moment, moment)])
        # The same, but what it saw arrives after the answer: answered right, then undone.
        make(name, sandbox, [(moment, moment, AFTER)])


@pytest.mark.torture
def test_events_in_any_interleaving_leave_what_was_bought(sandbox: Control, full: bool) -> None:
    moment = st.integers(0, AFTER)

    @settings(
        max_examples=400 if full else 12,
        derandomize=not full,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.sampled_from(sorted(VERBS)),
        st.lists(st.tuples(moment, moment, moment), min_size=1, max_size=4),
    )
    def run(name: str, moments: list[tuple[int, int, int]]) -> None:
        note(f"{name} {moments}")
        make(name, sandbox, moments)

    run()
