"""Sign-up killed, raced and given up: one organisation, one customer, one subscription."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from billing import convergence, tasks
from billing.models import Operation, Organization, Subscription
from billing.signup import MOST_ATTEMPTS
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.billing.gate import holding
from tests.billing.signups import (
    BODY,
    EMAIL,
    NOTHING,
    ONE,
    at_stripe,
    let_the_lease_run_out,
    replayed,
    sign_up,
    visible,
)
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control
from tests.support.cast import data, error
from tests.support.database import superuser
from tests.support.live import ROOT, database_url

pytestmark = pytest.mark.django_db(transaction=True)

_PATIENCE = 30
_SIGN_UP = """
import sys, django
django.setup()
from billing.bodies import SignUpBody
from billing.signup import sign_up
name, email, checkout, key = sys.argv[1:]
sign_up(asked=SignUpBody(name, email, checkout == "True"), key=key or None)
"""


@contextmanager
def no_new_organisations() -> Iterator[None]:
    """Let every sign-up wait at its last step, after Stripe has done its part."""
    with superuser(str(connection.settings_dict["NAME"])) as admin, admin.transaction():
        admin.execute("LOCK TABLE billing_organization IN SHARE MODE")
        yield


def _kill_after_stripe(sandbox: Control, *, key: str, checkout: bool = False) -> None:
    """Sign up in a process of its own and kill it between Stripe's success and our commit."""
    env = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "VALKEY_URL": settings.VALKEY_URL,
        "SANDBOX_URL": sandbox.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    asked = [BODY["orgName"], EMAIL, str(checkout), key]
    command = [sys.executable, "-c", _SIGN_UP, *asked]
    with no_new_organisations():
        process = subprocess.Popen(command, cwd=ROOT, env=env)  # noqa: S603 - our own words
        try:
            _wait_until_it_waits(process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(_PATIENCE)


def _wait_until_it_waits(process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
                " AND relation = 'billing_organization'::regclass"
            )
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)  # the server has no other way to say it
    raise AssertionError("it never reached its last step")


@pytest.mark.parametrize("key", ["k1", ""])
def test_what_a_kill_left_is_completed_without_anybody_asking(sandbox: Control, key: str) -> None:
    _kill_after_stripe(sandbox, key=key)
    left, seen = at_stripe(sandbox), visible()
    tasks.finish_sign_ups()
    too_early = visible()
    let_the_lease_run_out()

    tasks.finish_sign_ups()

    assert left == at_stripe(sandbox) == (1, 1)
    assert seen == too_early == NOTHING
    assert visible() == ONE
    assert Organization.objects.get().org_id == Operation.objects.get().org_id


def test_what_a_kill_left_is_completed_by_the_retry(sandbox: Control) -> None:
    _kill_after_stripe(sandbox, key="k1")
    at_once = sign_up("k1")
    let_the_lease_run_out()

    retried = sign_up("k1")

    assert error(at_once)["code"] == "IDEMPOTENCY_IN_PROGRESS"
    assert data(retried)["orgId"] == Operation.objects.get().org_id
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_a_killed_checkout_is_completed_with_the_end_it_began_with(sandbox: Control) -> None:
    _kill_after_stripe(sandbox, key="k1", checkout=True)
    let_the_lease_run_out()
    chosen = Operation.objects.get().request["trialEnd"]

    tasks.finish_sign_ups()

    ends_at = Entitlement.objects.get().trial_ends_at
    assert ends_at is not None
    assert int(ends_at.timestamp()) == chosen
    assert sandbox.state()["objects"]["checkout.session"] == 1
    assert at_stripe(sandbox) == (1, 0)


def test_a_webhook_that_is_faster_than_the_sign_up_is_linked_afterwards(sandbox: Control) -> None:
    _kill_after_stripe(sandbox, key="k1")
    [event] = sandbox.events(type_="customer.subscription.created")
    convergence.converge(event["data"]["object"]["id"], because="webhook")
    unlinked = Subscription.objects.get().org_id
    let_the_lease_run_out()

    tasks.finish_sign_ups()

    org_id = Organization.objects.get().org_id
    assert unlinked == ""
    assert Subscription.objects.get().org_id == org_id
    assert Entitlement.objects.get(org_id=org_id).status == "trialing"


def test_a_webhook_between_stripes_answer_and_our_commit_is_linked_too(sandbox: Control) -> None:
    made = Subscriber(clients.stripe)
    ours = convergence.fetch(made.subscribe("starter", trial_days=14)["id"])
    convergence.converge(ours.subscription_id, because="webhook")

    with transaction.atomic():
        Organization.objects.create(
            org_id=made.org_id,
            name="Acme",
            email=EMAIL,
            stripe_customer_id=made.customer_id,
            created_at=clock.now(),
        )
        convergence.apply(ours, because="sign-up")

    mirror = Subscription.objects.get()
    assert (mirror.org_id, mirror.fetch_applied) == (made.org_id, ours.number + 1)
    assert Entitlement.objects.get(org_id=made.org_id).status == "trialing"


def test_a_webhook_that_is_faster_than_stripes_own_answer_is_not_undone(sandbox: Control) -> None:
    with holding(sandbox, "POST /v1/subscriptions", answered=True) as gate:
        signing_up = threading.Thread(target=_sign_up_in_a_thread, args=["k1"])
        signing_up.start()
        gate.wait()
        [event] = sandbox.events(type_="customer.subscription.created")
        subscription_id = event["data"]["object"]["id"]
        clients.stripe.set_cancel_at_period_end(
            subscription_id=subscription_id, cancel=True, idempotency_key="portal"
        )
        convergence.converge(subscription_id, because="webhook")
        gate.open()
        signing_up.join(_PATIENCE)

    assert Subscription.objects.get().cancel_at is not None
    assert Entitlement.objects.get().ends_at is not None


def test_a_database_that_refuses_at_the_end_is_no_loss(sandbox: Control) -> None:
    with no_new_organisations():
        failed = sign_up("k1")
    seen = visible()
    let_the_lease_run_out()

    retried = sign_up("k1")

    assert (failed.status_code, error(failed)["code"]) == (503, "UNAVAILABLE")
    assert seen == NOTHING
    assert data(retried)
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_twenty_at_once_with_one_key_are_one_sign_up(sandbox: Control) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(_sign_up_in_a_thread, ["k1"] * 20))
    later = [sign_up("k1") for _ in range(3)]

    codes = {status: code for status, code, _ in answers if status != 200}
    done = {body for status, _, body in answers if status == 200}
    assert codes in ({}, {409: "IDEMPOTENCY_IN_PROGRESS"})
    assert len(done) == 1
    assert {answer.content for answer in later} == done
    assert all(replayed(answer) for answer in later)
    assert Operation.objects.count() == 1
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_twenty_at_once_with_keys_of_their_own_are_twenty(sandbox: Control) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(_sign_up_in_a_thread, [f"k{n}" for n in range(20)]))

    assert [status for status, _, _ in answers] == [200] * 20
    assert Organization.objects.count() == 20
    assert at_stripe(sandbox) == (20, 20)


def test_what_keeps_failing_is_given_up_and_opened_again_by_a_retry(sandbox: Control) -> None:
    sandbox.fault("error", path="/v1/subscriptions", count=-1)
    sign_up("k1")
    for _ in range(MOST_ATTEMPTS + 1):
        let_the_lease_run_out()
        tasks.finish_sign_ups()
    given_up = Operation.objects.get()
    sandbox.clear_faults()

    retried = sign_up("k1")

    assert (given_up.state, given_up.error) == ("failed", "attempts")
    assert data(retried)["orgId"] == given_up.org_id
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 1))


def test_the_completer_asks_stripe_once_a_minute_at_most(sandbox: Control) -> None:
    sandbox.fault("error", path="/v1/subscriptions", count=-1)
    sign_up("k1")

    for _ in range(5):
        tasks.finish_sign_ups()

    assert Operation.objects.get().attempts == 2


def test_one_that_cannot_be_finished_does_not_keep_the_others_waiting(sandbox: Control) -> None:
    sandbox.fault("error", path="/v1/subscriptions", count=2)
    sign_up("k1")
    sign_up("k2", email="second@acme.example")
    broken = Operation.objects.earliest("pk")
    Operation.objects.filter(pk=broken.pk).update(
        request={}, lease_until=broken.lease_until - timedelta(minutes=5)
    )

    tasks.finish_sign_ups()

    assert Organization.objects.get().email == "second@acme.example"


def _sign_up_in_a_thread(key: str) -> tuple[int, str, bytes]:
    try:
        answer = sign_up(key)
    finally:
        connections.close_all()
    code = json.loads(answer.content).get("error", {}).get("code", "")
    return answer.status_code, code, answer.content
