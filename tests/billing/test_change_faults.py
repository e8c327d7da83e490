"""A Stripe that is slow, refuses, breaks off or answers nothing: nothing is lost or doubled."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.models import Operation
from billing.tasks import finish_changes
from tests.billing.breaking import How, breaking
from tests.billing.kinds import KINDS, Kind, assert_agrees
from tests.billing.owners import Owner, new_owner, paid, schedules, unfinished, use_card
from tests.sandbox.server import Control
from tests.support.cast import data, error

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
#: What a fault at Stripe is answered with.
ANSWERS = {
    "cut_before": (503, "UNAVAILABLE"),
    "cut_after": (503, "UNAVAILABLE"),
    "error": (502, "STRIPE_ERROR"),
    "stored_error": (502, "STRIPE_ERROR"),
    "stored_error_after": (502, "STRIPE_ERROR"),
    "rate_limited": (503, "UNAVAILABLE"),
    "conflict": (503, "UNAVAILABLE"),
}
#: More requests than any change makes.
_MANY = 30


@pytest.mark.parametrize("fault", ANSWERS)
def test_a_fault_is_named_and_nothing_changes_for_the_worse(
    owner: Owner, sandbox: Control, fault: str
) -> None:
    sandbox.fault(fault, method="POST", path="/v1/subscriptions/*")

    failed = owner.upgrade("pro")

    assert (failed.status_code, error(failed)["code"]) == ANSWERS[fault]
    assert ("Retry-After" in failed.headers) == (failed.status_code == 503)
    assert owner.entitlements()["status"] == "trialing"
    assert data(owner.use())["used"] == 1


@pytest.mark.torture
@each_kind
def test_after_a_fault_the_repeat_completes_the_change(
    transactional_db: None, sandbox: Control, kind: Kind, full: bool
) -> None:
    for fault in ANSWERS if full else ("stored_error", "stored_error_after"):
        owner = new_owner(fault)
        kind.prepare(owner)
        method, path = kind.write
        sandbox.fault(fault, method=method, path=path)

        failed = kind.ask(owner)
        repeated = kind.ask(owner)

        assert failed.status_code == ANSWERS[fault][0], fault
        assert_answered(repeated, kind)
        kind.assert_done_once(owner, sandbox)
    assert unfinished() == 0


@pytest.mark.torture
@each_kind
def test_after_a_fault_the_completer_completes_the_change(
    transactional_db: None, sandbox: Control, kind: Kind, full: bool
) -> None:
    for fault in ANSWERS if full else ("cut_after",):
        owner = new_owner(fault)
        kind.prepare(owner)
        method, path = kind.write
        sandbox.fault(fault, method=method, path=path)
        kind.ask(owner)

        finish_changes()

        assert Operation.objects.latest("pk").state == Operation.State.DONE, fault
        kind.assert_done_once(owner, sandbox)


@pytest.mark.torture
@each_kind
def test_the_wire_may_break_at_any_request(
    transactional_db: None, sandbox: Control, kind: Kind, full: bool
) -> None:
    for how in _hows(full):
        met = 0
        for owner, at in owners_and_breaks(full, *kind.write):
            kind.prepare(owner)
            with breaking(sandbox, at=at, how=how) as wire:
                first = kind.ask(owner)
                answer = first if first.status_code == 200 else kind.ask(owner)

            assert_answered(answer, kind)
            kind.assert_done_once(owner, sandbox)
            if not wire.broke:
                break
            met += 1
        assert 1 < met < _MANY or (met == 1 and not full)
    assert unfinished() == 0


@pytest.mark.torture
def test_a_declined_upgrade_keeps_the_downgrade_wherever_the_wire_breaks(
    transactional_db: None, sandbox: Control, full: bool
) -> None:
    for how in _hows(full):
        met = 0
        for owner, at in owners_and_breaks(full, "POST", "/v1/subscriptions/*"):
            owner.upgrade("pro")
            owner.downgrade("starter")
            use_card(owner, "pm_card_chargeCustomerFail")
            with breaking(sandbox, at=at, how=how) as wire:
                first = owner.upgrade("business")
                answer = first if first.status_code == 402 else owner.upgrade("business")

            assert error(answer)["details"]["reason"] == "card_declined"
            assert paid(sandbox, owner.customer_id) == [9900]
            assert len(schedules(sandbox, owner.customer_id)) == 1
            assert owner.entitlements()["scheduledChange"]["newPlanCode"] == "starter"
            assert_agrees(owner, sandbox)
            if not wire.broke:
                break
            met += 1
        assert 5 < met < _MANY or (met == 1 and not full)
    assert unfinished() == 0


def _hows(full: bool) -> tuple[How, ...]:
    return ("before", "after") if full else ("after",)


def owners_and_breaks(full: bool, method: str, path: str) -> Iterator[tuple[Owner, int | str]]:
    """Yield a new owner for each request at which the wire may break: all, or the write alone."""
    for at in range(1, _MANY) if full else (f"{method} {path.rstrip('*')}",):
        yield new_owner(), at


def assert_answered(response: Any, kind: Kind) -> None:
    """Fail unless it is the answer of a change that was made."""
    answer = data(response)
    assert {name: answer[name] for name in kind.answers} == dict(kind.answers)
