"""A Stripe that fails and a worker that dies lose no overage and charge none twice."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from tests.billing.breaking import How, breaking, wired
from tests.billing.overages import (
    FAULTS,
    INCLUDED,
    METER_EVENTS,
    charge,
    closed,
    metered_lines,
    on_business,
    rested,
    settle,
    until,
)
from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.support.cast import data
from tests.support.length import Length
from tests.support.live import ROOT, database_url


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """An owner on business since the tenth: a million calls a month, and then 20 for a cent."""
    return on_business(sandbox)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_stripe_loses_and_doubles_nothing(
    owner: Owner, sandbox: Control, fault: str
) -> None:
    owner.use(INCLUDED + 2_000)
    closed(sandbox)
    sandbox.fault(fault, method="POST", path=METER_EVENTS)

    first = charge()
    rested()
    settle()
    until(sandbox, 2, 11)

    assert (first.charged, first.waiting) == (0, 1)
    assert metered_lines(sandbox, owner) == [(2_000, 100)]


def test_a_report_that_never_came_is_made_in_the_next_billing_period(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 2_000)
    closed(sandbox)
    sandbox.fault("cut_before", method="POST", path=METER_EVENTS)
    charge()
    rested()

    until(sandbox, 2, 11)
    settle()
    until(sandbox, 3, 11)

    assert metered_lines(sandbox, owner) == [(2_000, 100)]


def test_a_report_whose_answer_was_lost_is_found_in_the_next_billing_period(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 2_000)
    closed(sandbox)
    sandbox.fault("cut_after", method="POST", path=METER_EVENTS)
    charge()
    rested()

    until(sandbox, 2, 11)
    settle()
    until(sandbox, 3, 11)

    assert metered_lines(sandbox, owner) == [(2_000, 100)]
    assert len(sandbox.objects("billing.meter_event")) == 1


def test_a_lost_answer_is_not_judged_before_stripe_sums_up(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 2_000)
    until(sandbox, 2, 10, hour=11)
    sandbox.travel(seconds=3_500)
    sandbox.fault("cut_after", method="POST", path=METER_EVENTS)
    charge()
    rested()

    until(sandbox, 2, 10, hour=12)
    sandbox.travel(seconds=600)
    too_early = charge()
    rested()
    until(sandbox, 2, 11)
    settle()
    until(sandbox, 3, 11)

    assert (too_early.charged, too_early.waiting) == (0, 1)
    assert metered_lines(sandbox, owner) == [(2_000, 100)]
    assert len(sandbox.objects("billing.meter_event")) == 1


@pytest.mark.torture
def test_killed_between_stripes_success_and_our_commit(
    owner: Owner, sandbox: Control, length: Length
) -> None:
    owners = [owner, *(new_owner() for _ in range(length.of(1, 19)))]
    for one in owners[1:]:
        one.upgrade("business")
    for one in owners:
        one.use(INCLUDED + 1_000)
    closed(sandbox)

    for _ in owners:
        assert killed(sandbox)
        rested()
    settle(tries=3)
    until(sandbox, 2, 11)

    assert [metered_lines(sandbox, one) for one in owners] == [[(1_000, 50)]] * len(owners)
    assert len(sandbox.objects("billing.meter_event")) == len(owners)


def killed(sandbox: Control) -> bool:
    """Kill a worker between the effect of its report and the answer."""
    with wired(sandbox, at=f"POST {METER_EVENTS}", how="held") as wire:
        env = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "VALKEY_URL": settings.VALKEY_URL,
            "SANDBOX_URL": wire.url,
        }
        command = [sys.executable, "manage.py", "charge_overage"]
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL
        )
        wire.wait()
        process.kill()
        process.wait(10)
    return wire.broke


@pytest.mark.torture
@pytest.mark.parametrize("how", ["before", "after"])
def test_the_wire_may_break_at_any_request(
    owner: Owner, sandbox: Control, length: Length, how: How
) -> None:
    owners = [owner, *(new_owner() for _ in range(length.of(1, 5)))]
    for one in owners:
        one.upgrade("business")
        one.use(INCLUDED + 1_000)
    closed(sandbox)

    for at in range(1, len(owners) * 3 + 1):
        with breaking(sandbox, at=at, how=how):
            charge()
        rested()
    settle()
    until(sandbox, 2, 11)

    assert [metered_lines(sandbox, one) for one in owners] == [[(1_000, 50)]] * len(owners)


@pytest.mark.parametrize("path", ["/v1/invoices", "/v1/invoiceitems", "/v1/invoices/%/finalize"])
@pytest.mark.parametrize("fault", FAULTS)
def test_its_own_invoice_is_made_once_whatever_breaks(
    owner: Owner, sandbox: Control, fault: str, path: str
) -> None:
    owner.use(INCLUDED + 3_000)
    data(owner.cancel("now"))
    closed(sandbox)
    sandbox.fault(fault, method="POST", path=path)

    charge()
    rested()
    settle()
    until(sandbox, 2, 5)

    assert metered_lines(sandbox, owner) == [(3_000, 150)]
    assert len(sandbox.objects("invoiceitem")) == 1
    own = [one for one in sandbox.objects("invoice") if one["billing_reason"] == "manual"]
    assert [(one["status"], one["amount_paid"]) for one in own] == [("paid", 150)]
