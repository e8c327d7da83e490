"""POST /api/signup: what is answered and what exists afterwards, here and at Stripe."""

import json
import logging
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing import tasks
from billing.models import Operation, Organization, Subscription
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from config.contract.ids import new_id
from quotas.models import Entitlement, UsageCounter
from quotas.snapshots import from_copy
from tests.billing.signups import (
    EMAIL,
    NOTHING,
    ONE,
    at_stripe,
    away_broker,
    sign_up,
    the_subscription,
    visible,
)
from tests.sandbox.server import Control
from tests.support.cast import data, error
from tokens import scopes
from tokens.models import ActivationCode, OrgAccess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _at_the_sandbox(sandbox: Control) -> None:
    """Every sign-up here goes to a sandbox of its own."""


def test_a_sign_up_answers_with_the_organisation_its_trial_and_its_code(sandbox: Control) -> None:
    response = sign_up()

    answer = data(response)
    assert response.status_code == 200
    assert set(answer) == {"orgId", "planCode", "trialEndsAt", "activationCode"}
    assert answer["orgId"].startswith("org_")
    assert len(answer["orgId"]) == 30
    assert answer["planCode"] == "starter"
    assert answer["activationCode"].startswith("mgc_")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Idempotent-Replayed" not in response.headers


def test_the_code_is_left_out_where_it_goes_by_mail_alone(settings: Settings) -> None:
    settings.SIGNUP_RETURNS_CODE = False

    answer = data(sign_up())

    assert set(answer) == {"orgId", "planCode", "trialEndsAt"}


def test_stripe_has_one_customer_and_one_trial_on_the_starter_plan(sandbox: Control) -> None:
    answer = data(sign_up())

    organization = Organization.objects.get()
    customer = sandbox.show(organization.stripe_customer_id)
    subscription = the_subscription(sandbox)
    [item] = subscription["items"]["data"]
    assert at_stripe(sandbox) == (1, 1)
    assert (customer["email"], customer["name"]) == (EMAIL, "Acme")
    assert customer["metadata"] == {"org_id": answer["orgId"]}
    assert subscription["metadata"] == {"org_id": answer["orgId"]}
    assert subscription["customer"] == customer["id"]
    assert subscription["status"] == "trialing"
    assert subscription["trial_end"] - subscription["trial_start"] == 14 * 86_400
    assert item["price"]["lookup_key"] == "starter"


def test_the_mirror_and_the_entitlement_say_what_stripe_says(sandbox: Control) -> None:
    answer = data(sign_up())

    subscription = the_subscription(sandbox)
    mirror, entitlement = Subscription.objects.get(), Entitlement.objects.get()
    assert mirror.org_id == entitlement.org_id == answer["orgId"]
    assert mirror.status == entitlement.status == "trialing"
    assert mirror.plan_code == entitlement.plan_code == "starter"
    assert mirror.trial_ends_at == entitlement.trial_ends_at
    assert entitlement.trial_ends_at is not None
    assert int(entitlement.trial_ends_at.timestamp()) == subscription["trial_end"]
    assert answer["trialEndsAt"] == rfc3339(entitlement.trial_ends_at)
    assert entitlement.status_because == "sign-up"


def test_counters_stand_at_zero_in_the_database_and_in_the_copy() -> None:
    org_id = data(sign_up())["orgId"]

    rows = {row.metric: (row.used, row.remaining) for row in UsageCounter.objects.all()}
    held = clients.copy.read(org_id)
    copied = {name: from_copy(held, name) for name in rows}
    assert rows == {"api_call": (0, 10_000), "compute_ms": (0, 1_000_000)}
    assert {n: c and (c.used, c.remaining, c.access) for n, c in copied.items()} == {
        "api_call": (0, 10_000, True),
        "compute_ms": (0, 1_000_000, True),
    }


def test_the_organisation_is_let_in_with_the_plans_number_of_installations() -> None:
    org_id = data(sign_up())["orgId"]

    assert OrgAccess.objects.get(org_id=org_id).installation_limit == 5


def test_the_code_is_stored_hashed_only_and_activates_once() -> None:
    code = data(sign_up())["activationCode"]
    stored = ActivationCode.objects.get()

    first, second = _activate(code), _activate(code)

    assert code.encode() not in bytes(stored.code_hash)
    assert code not in json.dumps(list(Operation.objects.values()), default=str)
    assert set(data(first)["scopes"]) == set(scopes.OWNER)
    assert (second.status_code, error(second)["code"]) == (401, "CODE_INVALID")


def test_the_owner_may_use_what_the_trial_includes() -> None:
    signed_up = data(sign_up())
    token = data(_activate(signed_up["activationCode"]))["accessToken"]
    use = {
        "orgId": signed_up["orgId"],
        "metric": "api_call",
        "value": 3,
        "occurredAt": clock.now().isoformat(),
        "request_id": new_id("req"),
    }

    used = _post("/api/v1/usage", use, Authorization=f"Bearer {token}")

    assert data(used)["remaining"] == 9_997


def test_two_sign_ups_may_share_an_e_mail(sandbox: Control) -> None:
    first, second = data(sign_up()), data(sign_up())

    assert first["orgId"] != second["orgId"]
    assert first["activationCode"] != second["activationCode"]
    assert at_stripe(sandbox) == (2, 2)


def test_names_and_addresses_lose_the_blanks_around_them() -> None:
    data(sign_up(orgName="  Ünï Cörp ✓ ", email=f" {EMAIL} "))

    organization = Organization.objects.get()
    assert (organization.name, organization.email) == ("Ünï Cörp ✓", EMAIL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("orgName", ""),
        ("orgName", "   "),
        ("orgName", "x" * 121),
        ("orgName", "two\nlines"),
        ("orgName", "bell\x07"),
        ("orgName", 5),
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", "a@b.example\nBcc: c@d.example"),
        ("email", "a@b.example, c@d.example"),
        ("email", f"{'a' * 250}@b.example"),
        ("email", None),
        ("checkout", 1),
        ("checkout", "true"),
        ("plan", "business"),
    ],
)
def test_a_bad_body_is_refused_by_the_fields_name_and_leaves_nothing(
    sandbox: Control, field: str, value: Any
) -> None:
    response = sign_up(**{field: value})

    assert response.status_code == 400
    assert set(error(response)["details"]["fields"]) == {field}
    assert visible() == NOTHING
    assert not Operation.objects.exists()
    assert at_stripe(sandbox) == (0, 0)


def test_neither_the_address_nor_the_code_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    code = data(sign_up("a-key", orgName="Quiet Ltd"))["activationCode"]
    tasks.finish_sign_ups()

    logged = "\n".join(f"{record.msg} {record.args}" for record in caplog.records)
    assert "stripe_call" in logged
    for secret in (EMAIL, code, code.removeprefix("mgc_"), "a-key", "Quiet Ltd"):
        assert secret not in logged


def test_a_sign_up_needs_neither_the_copy_nor_the_broker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away_broker(monkeypatch)
    monkeypatch.setitem(clients._made, "copy", OrgCopy("unix:///nowhere/valkey.sock"))

    answer = data(sign_up())

    logged = {record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)}
    assert {"doorbell_silent", "copy_failed"} <= logged
    assert visible() == ONE
    assert answer["activationCode"]


def _activate(code: str) -> Any:
    return _post("/api/tokens/activate", {"activationCode": code})


def _post(path: str, body: Any, **headers: str) -> Any:
    return Client().post(path, json.dumps(body), content_type="application/json", headers=headers)
