"""Operator credentials: one backend that meters many organisations."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from config.contract import clock
from tests.support.cast import Org, data, error
from tokens import operators
from tokens.operators import NewSecret

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key(transactional_db: None) -> NewSecret:
    return operators.create(
        name="gateway",
        wanted=["usage:write", "entitlements:read", "usage:void"],
        who="test",
        now=clock.real_now(),
    )


def log_in(key: NewSecret) -> Any:
    return Client().post(
        "/api/tokens/operator",
        json.dumps({"keyId": key.key_id, "secret": key.secret}),
        content_type="application/json",
    )


def call(token: str, path: str, body: Any, **headers: str) -> Any:
    return Client().post(
        path,
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}", **headers},
    )


def test_an_operator_acts_for_the_organisation_each_request_names(
    key: NewSecret, org: Org, stranger: Org
) -> None:
    token = data(log_in(key))["accessToken"]

    for one in (org, stranger):
        answer = call(token, "/api/quota/check", {"orgId": one.id, "metric": "api_call"})
        assert data(answer)["allow"] is True
        assert answer.headers["x-tenant-id"] == one.id
    nobody = call(token, "/api/quota/check", {"orgId": "org_nobody", "metric": "api_call"})
    assert nobody.status_code == 404
    mixed = call(
        token,
        "/api/quota/check",
        {"orgId": org.id, "metric": "api_call"},
        **{"x-tenant-id": stranger.id},
    )
    assert error(mixed)["code"] == "TENANT_MISMATCH"


def test_two_secrets_live_until_the_next_rotation(key: NewSecret) -> None:
    second = operators.rotate(key_id=key.key_id, who="test", now=clock.real_now())
    assert log_in(key).status_code == log_in(second).status_code == 200

    operators.rotate(key_id=key.key_id, who="test", now=clock.real_now())

    assert log_in(key).status_code == 401
    assert log_in(second).status_code == 200


def test_revoking_ends_the_tokens_that_are_out_at_their_next_request(
    key: NewSecret, org: Org
) -> None:
    token = data(log_in(key))["accessToken"]
    body = {"orgId": org.id, "metric": "api_call"}
    assert call(token, "/api/quota/check", body).status_code == 200

    operators.revoke(key_id=key.key_id, who="test", now=clock.real_now())

    assert error(call(token, "/api/quota/check", body))["code"] == "UNAUTHENTICATED"
    assert log_in(key).status_code == 401


def test_the_command_makes_rotates_lists_and_revokes(transactional_db: None) -> None:
    def run(*words: str) -> str:
        out = StringIO()
        call_command("operator_key", *words, stdout=out)
        return out.getvalue()

    made = run("create", "gateway", "--scope", "usage:write")
    key_id = made.split()[0]

    assert "mgo_" in made
    assert "mgo_" in run("rotate", key_id)
    assert key_id in run("list")
    run("revoke", key_id)
    assert "revoked" in run("list")
