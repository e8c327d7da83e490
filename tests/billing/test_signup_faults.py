"""Sign-up while Stripe fails, at every step and in every way: nothing half-made, nothing twice."""

import threading
import time
from typing import Any

import pytest
from django.db import connection, connections

from billing import tasks
from billing.models import Operation, Organization, Plan
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.billing.gate import holding
from tests.billing.signups import (
    NOTHING,
    ONE,
    at_stripe,
    replayed,
    sign_up,
    the_subscription,
    visible,
)
from tests.sandbox.server import Control
from tests.support.callers import room_for
from tests.support.cast import Org, data, error

pytestmark = pytest.mark.django_db(transaction=True)

READS = ["GET /v1/customers", "GET /v1/prices"]
WRITES = ["POST /v1/customers", "POST /v1/subscriptions"]
#: What the caller is told of each fault.
PASSING = {
    "rate_limited": (503, "UNAVAILABLE"),
    "conflict": (503, "UNAVAILABLE"),
    "error": (502, "STRIPE_ERROR"),
    "cut_before": (503, "UNAVAILABLE"),
    "cut_after": (503, "UNAVAILABLE"),
}
KEPT = {"stored_error": (502, "STRIPE_ERROR"), "stored_error_after": (502, "STRIPE_ERROR")}
EACH_FAULT = [(step, kind) for step in READS for kind in PASSING]
EACH_FAULT += [(step, kind) for step in WRITES for kind in {**PASSING, **KEPT}]


def _order(sandbox: Control, step: str, kind: str, *, count: int = 1) -> None:
    method, path = step.split()
    sandbox.fault(kind, path=path, method=method, count=count)


@pytest.mark.parametrize(("step", "kind"), EACH_FAULT)
def test_a_fault_is_told_and_the_retry_with_the_key_completes_the_sign_up(
    sandbox: Control, step: str, kind: str
) -> None:
    _order(sandbox, step, kind)

    failed = sign_up("k1")
    seen = visible()
    begun = Operation.objects.get()
    retried = sign_up("k1")

    assert (failed.status_code, error(failed)["code"]) == {**PASSING, **KEPT}[kind]
    assert ("Retry-After" in failed.headers) is (failed.status_code == 503)
    assert seen == NOTHING
    assert data(retried)["orgId"] == begun.org_id
    assert not replayed(retried)
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))
    assert the_subscription(sandbox)["metadata"]["org_id"] == begun.org_id


@pytest.mark.parametrize(("step", "kind"), EACH_FAULT)
def test_where_nobody_retries_the_completer_does(sandbox: Control, step: str, kind: str) -> None:
    _order(sandbox, step, kind)
    sign_up("k1")

    tasks.finish_sign_ups()

    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))
    assert replayed(sign_up("k1"))


@pytest.mark.parametrize("step", WRITES)
def test_faults_one_after_the_other_end_in_one_of_each(sandbox: Control, step: str) -> None:
    for kind in ("stored_error_after", "cut_after", "stored_error_after", "rate_limited"):
        _order(sandbox, step, kind)

    statuses = [sign_up("k1").status_code for _ in range(6)]

    assert statuses[-1] == 200
    assert 502 in statuses
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


@pytest.mark.parametrize("kind", ["cut_after", "stored_error_after", "error"])
def test_without_a_key_a_failure_is_final(sandbox: Control, kind: str) -> None:
    _order(sandbox, "POST /v1/subscriptions", kind)

    response = sign_up()
    tasks.finish_sign_ups()

    assert response.status_code in (502, 503)
    assert visible() == NOTHING
    assert Operation.objects.get().state == "failed"
    assert data(sign_up())["orgId"] != Operation.objects.earliest("pk").org_id


def test_the_key_of_stripe_refused_is_a_fault_of_ours(sandbox: Control) -> None:
    stranger = StripeGateway(Transport(api_key="sk_test_wrong", base_url=sandbox.url))
    with clients.swapped("stripe", stranger):
        response = sign_up("k1")

    assert (response.status_code, error(response)["code"]) == (500, "INTERNAL")
    assert "sk_test" not in response.content.decode()
    assert visible() == NOTHING
    assert data(sign_up("k1"))


def test_a_plan_without_a_price_cannot_be_signed_up_to_until_it_has_one(sandbox: Control) -> None:
    Plan.objects.filter(code="starter").update(amount=1901)
    failed = sign_up("k1")
    seen = visible()
    Plan.objects.filter(code="starter").update(amount=1900)

    retried = sign_up("k1")

    assert (failed.status_code, error(failed)["code"]) == (502, "STRIPE_ERROR")
    assert seen == NOTHING
    assert data(retried)
    assert at_stripe(sandbox) == (1, 1)


def test_a_price_that_is_gone_from_stripe_is_looked_up_again(sandbox: Control) -> None:
    Plan.objects.filter(code="starter").update(stripe_price_id="price_gone")

    failed, retried = sign_up("k1"), sign_up("k1")

    assert (failed.status_code, error(failed)["code"]) == (502, "STRIPE_ERROR")
    assert data(retried)
    assert Plan.objects.get(code="starter").stripe_price_id != "price_gone"


@pytest.mark.parametrize("step", [*READS, *WRITES])
def test_a_stripe_slower_than_the_budget_is_given_up_and_not_doubled(
    sandbox: Control, step: str
) -> None:
    with holding(sandbox, step) as gate:
        with clients.stripe.session(seconds=1):
            failed = sign_up("k1")
        gate.wait()
        seen = visible()

        # The first request is still on its way to Stripe, and arrives after all.
        retried = sign_up("k1")
        gate.open()

    assert (failed.status_code, error(failed)["code"]) == (503, "UNAVAILABLE")
    assert failed.headers["Retry-After"]
    assert seen == NOTHING
    assert data(retried)
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_nothing_of_the_database_is_held_while_stripe_thinks(sandbox: Control, org: Org) -> None:
    assert data(org.check())["allow"]
    before = _sessions()
    answers: list[Any] = []

    with holding(sandbox, "POST /v1/subscriptions") as gate:
        signing_up = threading.Thread(target=lambda: answers.append(_in_a_thread("k1")))
        signing_up.start()
        gate.wait()
        in_a_transaction, settled = _sessions(busy=True), _settles_at(before)
        checks = [org.check().status_code for _ in range(20)]
        uses = [org.use().status_code for _ in range(5)]
        gate.open()
        signing_up.join(30)

    assert in_a_transaction == 0
    assert settled
    assert checks == [200] * 20
    assert uses == [200] * 5
    assert data(answers[0])


def test_who_comes_while_the_web_process_waits_for_stripe_is_told_to_come_back(
    sandbox: Control,
) -> None:
    answers: list[Any] = []

    with holding(sandbox, "POST /v1/subscriptions", callers=room_for(1)) as gate:
        first = threading.Thread(target=lambda: answers.append(_in_a_thread("k1")))
        first.start()
        gate.wait()
        second = sign_up("k2", email="second@acme.example")
        gate.open()
        first.join(30)
        third = sign_up("k2", email="second@acme.example")

    assert (second.status_code, error(second)["code"]) == (503, "UNAVAILABLE")
    assert data(answers[0])["orgId"] != data(third)["orgId"]
    assert at_stripe(sandbox) == (2, 2)
    assert Organization.objects.count() == Entitlement.objects.count() == 2


def _in_a_thread(key: str) -> Any:
    try:
        return sign_up(key)
    finally:
        connections.close_all()


def _sessions(*, busy: bool = False) -> int:
    """Count the database's sessions besides this one; `busy`: those in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND (xact_start IS NOT NULL OR NOT %s)",
            [busy],
        )
        return int(cursor.fetchone()[0])


def _settles_at(count: int) -> bool:
    """Tell whether no more sessions are left: one that was closed takes a moment to be gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if _sessions() <= count:
            return True
        time.sleep(0.01)  # the server has no other way to say it
    return False
