"""Each kind of change: what it starts from, how it is asked, and what is to be seen after it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.billing.owners import Owner, live_subscriptions, paid, schedules
from tests.sandbox.server import Control
from tests.support.cast import data


@dataclass(frozen=True)
class Kind:
    """One kind of change.

    `write` is the method and path (a pattern of the sandbox's faults) of the
    request that makes it; `charges` is all that was ever paid once it is done.
    """

    prepare: Callable[[Owner], Any]
    ask: Callable[[Owner], Any]
    write: tuple[str, str]
    answers: Mapping[str, Any]
    charges: list[int]
    subscriptions: int = 1
    schedules: int = 0

    def assert_done_once(self, owner: Owner, sandbox: Control) -> None:
        """Fail unless it took effect exactly once, and we know of it."""
        customer = owner.customer_id
        # A proration counts seconds, of which a slow test takes some.
        assert paid(sandbox, customer) == pytest.approx(self.charges, rel=1e-3)
        assert len(live_subscriptions(sandbox, customer)) == self.subscriptions
        assert len(schedules(sandbox, customer)) == self.schedules
        assert_agrees(owner, sandbox)


def assert_agrees(owner: Owner, sandbox: Control) -> None:
    """Fail unless what is written down is what Stripe has."""
    mirror = owner.mirror
    there = sandbox.show(mirror.stripe_subscription_id)
    plan = there["items"]["data"][0]["price"]["lookup_key"]
    assert (mirror.status, mirror.plan_code) == (there["status"], plan)
    assert mirror.stripe_schedule_id == (there["schedule"] or "")
    assert (mirror.cancel_at is None) == (there["cancel_at"] is None)
    shown = owner.entitlements()
    assert (shown["status"], shown["planCode"]) == (there["status"], plan)
    scheduled = shown["scheduledChange"]
    assert (scheduled["newPlanCode"] if scheduled else "") == mirror.scheduled_plan_code


def _downgraded(owner: Owner) -> None:
    data(owner.upgrade("pro"))
    data(owner.downgrade("starter"))


def _cancelled(owner: Owner) -> None:
    data(owner.upgrade("pro"))
    data(owner.cancel("period_end"))


KINDS: Mapping[str, Kind] = {
    "upgrade": Kind(
        prepare=lambda owner: None,
        ask=lambda owner: owner.upgrade("pro"),
        write=("POST", "/v1/subscriptions/*"),
        answers={"planCode": "pro", "includedUnits": 100000},
        charges=[9900],
    ),
    "downgrade": Kind(
        prepare=lambda owner: owner.upgrade("pro"),
        ask=lambda owner: owner.downgrade("starter"),
        write=("POST", "/v1/subscription_schedules*"),
        answers={"newPlanCode": "starter"},
        charges=[9900],
        schedules=1,
    ),
    "keep_plan": Kind(
        prepare=_downgraded,
        ask=lambda owner: owner.keep_plan(),
        write=("POST", "/v1/subscription_schedules/*"),
        answers={"cancelled": True},
        charges=[9900],
    ),
    "cancel at the period's end": Kind(
        prepare=_downgraded,
        ask=lambda owner: owner.cancel("period_end"),
        write=("POST", "/v1/subscriptions/*"),
        answers={"status": "active"},
        charges=[9900],
    ),
    "cancel now": Kind(
        prepare=lambda owner: owner.upgrade("pro"),
        ask=lambda owner: owner.cancel("now"),
        write=("DELETE", "/v1/subscriptions/*"),
        answers={"status": "canceled"},
        charges=[9900],
        subscriptions=0,
    ),
    "resume": Kind(
        prepare=_cancelled,
        ask=lambda owner: owner.resume(),
        write=("POST", "/v1/subscriptions/*"),
        answers={"status": "active", "endsAt": None},
        charges=[9900],
    ),
    "subscribe": Kind(
        prepare=lambda owner: owner.cancel("now"),
        ask=lambda owner: owner.subscribe("pro"),
        write=("POST", "/v1/subscriptions"),
        answers={"planCode": "pro", "status": "active"},
        charges=[9900],
    ),
    "upgrade over a downgrade": Kind(
        prepare=_downgraded,
        ask=lambda owner: owner.upgrade("business"),
        write=("POST", "/v1/subscriptions/*"),
        answers={"planCode": "business", "includedUnits": 1000000},
        charges=[9900, 40000],
    ),
}
