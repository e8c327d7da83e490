"""A process killed in the middle of a change, and what is done about what it leaves."""

import json
from datetime import timedelta
from typing import Any

import pytest

from billing.changes import engine
from billing.models import IdempotencyKey, Operation
from billing.tasks import finish_changes
from config.contract import clock
from tests.billing.breaking import wired
from tests.billing.caller import calling
from tests.billing.kinds import KINDS, Kind, assert_agrees
from tests.billing.owners import Owner, new_owner, paid, schedules, unfinished
from tests.sandbox.server import Control
from tests.support.cast import data, error

UPGRADE = "POST /v1/subscriptions/sub_"
_MANY = 12


def upgrade_job(owner: Owner, plan: str = "pro") -> dict[str, Any]:
    """Return what a process is told: to upgrade under the key `k`."""
    return {
        "token": owner.tokens.access_token,
        "path": "/api/plans/upgrade",
        "body": json.dumps({"orgId": owner.id, "newPlanCode": plan}),
        "keys": ["k"],
    }


def killed_at(sandbox: Control, at: int | str, job: dict[str, Any]) -> bool:
    """Kill a process between the effect of a request and its answer. False: it never came."""
    with wired(sandbox, at=at, how="held") as wire, calling(wire.url) as process:
        process.wait_until_ready()
        process.start(job)
        came = wire.comes_before(process.answers)
        process.kill()
    return came


def the_lease_runs_out() -> None:
    """Move the leases into the past, as a minute would."""
    Operation.objects.filter(state=Operation.State.STARTED).update(
        lease_until=clock.real_now() - timedelta(seconds=1)
    )


@pytest.mark.torture
def test_killed_between_stripes_success_and_our_commit(
    transactional_db: None, sandbox: Control, full: bool
) -> None:
    times = 20 if full else 3
    for turn in range(times):
        owner = new_owner()
        assert killed_at(sandbox, UPGRADE, upgrade_job(owner))
        left = Operation.objects.get(org_id=owner.id, kind=Operation.Kind.UPGRADE)
        assert left.state == Operation.State.STARTED
        assert owner.entitlements()["planCode"] == "starter"
        the_lease_runs_out()

        if turn % 2:
            finish_changes()
        answer = data(owner.upgrade("pro", key="k"))

        assert answer["planCode"] == "pro"
        assert paid(sandbox, owner.customer_id) == [9900]
        assert_agrees(owner, sandbox)
    assert len(paid(sandbox)) == times
    assert unfinished() == 0


@pytest.mark.torture
def test_killed_at_any_request_of_an_upgrade_that_releases_a_downgrade(
    transactional_db: None, sandbox: Control, full: bool
) -> None:
    for at in range(1, _MANY if full else 3):
        owner = new_owner()
        owner.upgrade("pro")
        owner.downgrade("starter")
        came = killed_at(sandbox, at, upgrade_job(owner, "business"))
        the_lease_runs_out()

        finish_changes()

        assert data(owner.upgrade("business", key="k"))["planCode"] == "business"
        assert len(paid(sandbox, owner.customer_id)) == 2
        assert schedules(sandbox, owner.customer_id) == []
        assert_agrees(owner, sandbox)
        if not came:
            break
    assert unfinished() == 0


def test_while_the_lease_lasts_the_repeat_and_others_are_told_to_wait(
    owner: Owner, sandbox: Control
) -> None:
    killed_at(sandbox, UPGRADE, upgrade_job(owner))

    repeat = owner.upgrade("pro", key="k")
    other = owner.downgrade("starter")
    finish_changes()

    assert error(repeat)["code"] == "IDEMPOTENCY_IN_PROGRESS"
    assert error(other)["code"] == "PLAN_CHANGE_IN_PROGRESS"
    assert repeat.headers["Retry-After"] == other.headers["Retry-After"] == "1"
    assert unfinished() == 1


def test_the_next_change_first_carries_through_what_a_crash_left(
    owner: Owner, sandbox: Control
) -> None:
    killed_at(sandbox, UPGRADE, upgrade_job(owner))
    the_lease_runs_out()

    answer = data(owner.downgrade("starter"))

    assert answer["newPlanCode"] == "starter"
    assert owner.mirror.plan_code == "pro"
    assert paid(sandbox) == [9900]
    assert data(owner.upgrade("pro", key="k"))["planCode"] == "pro"


def test_two_completers_carry_a_change_through_once(owner: Owner, sandbox: Control) -> None:
    sandbox.fault("cut_before", path="/v1/subscriptions/*", method="POST")
    owner.upgrade("pro")
    left = Operation.objects.get(state=Operation.State.STARTED)
    zombie = Operation.objects.get(pk=left.pk)

    finish_changes()
    engine.carry_on(zombie)

    assert paid(sandbox) == [9900]
    assert Operation.objects.get(pk=left.pk).state == Operation.State.DONE


def test_one_that_cannot_be_finished_does_not_hold_up_the_others(
    owner: Owner, sandbox: Control
) -> None:
    neighbour = new_owner("Neighbour")
    sandbox.fault("cut_before", count=2, path="/v1/subscriptions/*", method="POST")
    owner.upgrade("pro")
    neighbour.upgrade("pro")
    # A fault of ours: the work fails on it each time.
    broken = Operation.objects.get(org_id=owner.id, state=Operation.State.STARTED)
    Operation.objects.filter(pk=broken.pk).update(request={})

    finish_changes()

    assert owner.mirror.plan_code == "starter"
    assert neighbour.mirror.plan_code == "pro"
    broken.refresh_from_db()
    assert broken.lease_until > clock.real_now()


def test_a_change_is_given_up_before_stripe_forgets_its_keys(
    owner: Owner, sandbox: Control
) -> None:
    sandbox.fault("cut_before", count=-1)
    owner.upgrade("pro", key="k")
    yesterday = clock.real_now() - timedelta(hours=24)
    Operation.objects.filter(state=Operation.State.STARTED).update(created_at=yesterday)

    finish_changes()
    sandbox.clear_faults()

    given_up = Operation.objects.latest("pk")
    assert (given_up.state, given_up.error) == (Operation.State.FAILED, "given_up")
    assert data(owner.upgrade("pro", key="k"))["planCode"] == "pro"
    assert paid(sandbox) == [9900]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_completer_that_comes_too_late_finds_nothing_to_do(
    owner: Owner, sandbox: Control, kind: Kind
) -> None:
    kind.prepare(owner)
    kind.ask(owner)
    done = Operation.objects.latest("pk")
    events = len(sandbox.events())

    engine.carry_on(done)

    kind.assert_done_once(owner, sandbox)
    assert len(sandbox.events()) == events
    assert Operation.objects.get(pk=done.pk).finished_at == done.finished_at


def test_what_is_kept_of_a_change_holds_no_secret_and_no_page(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro", key="k")

    kept = IdempotencyKey.objects.get(scope=f"upgrade:{owner.id}")
    operation = kept.operation

    assert operation is not None
    assert set(kept.response or {}) == {"planCode", "includedUnits", "used", "remaining"}
    assert set(operation.request) == {
        "newPlanCode",
        "prorationDate",
        "expectedAmount",
        "askedAt",
        "subscription",
        "asked",
    }
