"""What is used past a plan that allows it is charged once, as its statement says."""

from datetime import timedelta

import pytest
from django.conf import settings

from billing.models import Operation
from billing.overage import due, services
from config.contract import clock
from config.contract.clients import clients
from quotas.corrections import adjust
from quotas.models import UsageCounter
from tests.billing.overages import (
    INCLUDED,
    cents,
    charge,
    closed,
    january,
    metered_lines,
    on_business,
    overage_of,
    until,
)
from tests.billing.owners import Owner
from tests.sandbox.server import Control
from tests.support.cast import data
from usage.voids import void_event


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """An owner on business since the tenth: a million calls a month, and then 20 for a cent."""
    return on_business(sandbox)


def test_statement_preview_and_invoice_agree_to_the_cent(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 12_345)
    key = january()
    closed(sandbox)

    done = charge()
    mirror = owner.mirror.stripe_subscription_id
    preview = clients.stripe.preview_renewal(subscription_id=mirror)
    until(sandbox, 2, 11)

    units = overage_of(owner, key)
    assert (done.found, done.charged) == (1, 1)
    assert units == 12_345
    [renewal] = [one for one in sandbox.objects("invoice") if one["status"] == "paid"][-1:]
    assert renewal["billing_reason"] == "subscription_cycle"
    assert renewal["amount_paid"] == preview["amount_due"] == 49_900 + cents(units)
    assert metered_lines(sandbox, owner) == [(units, cents(units))]
    result = Operation.objects.get(kind="overage").result
    assert result == {"way": "meter", "units": units, "amount": cents(units), "currency": "usd"}


def test_nothing_is_reported_while_the_period_can_still_change(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 500, request_id="much")
    owner.use(300, request_id="mistake")
    key, late = january(), clock.now().replace(day=31).isoformat()
    until(sandbox, 2, 3)
    early = charge()
    owner.use(40, occurredAt=late)
    void_event(
        org_id=owner.id, request_id="mistake", reason="twice", voided_by="staff", now=clock.now()
    )

    closed(sandbox)
    charge()
    until(sandbox, 2, 11)

    assert early.found == 0
    assert overage_of(owner, key) == 540
    assert metered_lines(sandbox, owner) == [(540, cents(540))]


def test_a_closed_period_waits_for_what_was_begun_in_its_last_instant(owner: Owner) -> None:
    owner.use(INCLUDED + 3_000)
    counter = UsageCounter.objects.get(org_id=owner.id, metric="api_call")
    closes = counter.period_end + settings.LATE_GRACE_ALLOW

    assert not due.unwritten(now=closes + timedelta(minutes=4)).exists()
    assert due.unwritten(now=closes + timedelta(minutes=5)).get() == counter


def test_a_period_is_charged_once_however_often_the_worker_runs(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(INCLUDED + 1_000)
    closed(sandbox)

    first, again = charge(), charge()
    until(sandbox, 3, 11)
    later = charge()

    assert (first.charged, again.charged, again.found, later.found) == (1, 0, 0, 0)
    assert metered_lines(sandbox, owner) == [(1_000, 50)]


def test_who_stayed_within_the_plan_is_charged_nothing(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED)
    closed(sandbox)

    done = charge()
    until(sandbox, 2, 11)

    assert done == services.Charged()
    assert metered_lines(sandbox, owner) == []


def test_units_that_staff_granted_are_not_charged(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 1_000)
    adjust(
        org_id=owner.id,
        metric="api_call",
        units=400,
        reason="an outage of ours",
        who="staff",
        now=clock.now(),
    )
    closed(sandbox)

    charge()
    until(sandbox, 2, 11)

    assert metered_lines(sandbox, owner) == [(600, 30)]


def test_an_uncharged_period_holds_up_no_plan_change(owner: Owner, sandbox: Control) -> None:
    owner.use(INCLUDED + 1_000)
    closed(sandbox)
    due.write_down(now=clock.now())

    answer = owner.downgrade("starter")

    assert data(answer)["newPlanCode"] == "starter"
    assert UsageCounter.objects.filter(org_id=owner.id, overage="allow").exists()
