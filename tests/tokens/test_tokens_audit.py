"""Every step is written down under the ids of its request, and no secret with it."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import InternalError, ProgrammingError

from config.contract import clock
from tests.support.cast import Org, data, error, make_org
from tests.tokens.http import activate, later, post, refresh
from tokens import families, operators
from tokens.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)


def written(**about: str) -> list[str]:
    rows = AuditEntry.objects.filter(**about).order_by("at", "pk")
    return list(rows.values_list("what", flat=True))


def test_the_life_of_an_installation_can_be_read_back(org: Org) -> None:
    ids = {"x-request-id": "req-of-the-life", "x-correlation-id": "cor-of-the-life"}
    code = data(org.post("/api/tokens/codes", {"orgId": org.id}, **ids))["activationCode"]
    first = data(activate(code, **ids))["refreshToken"]
    second = data(refresh(first, **ids))["refreshToken"]
    refresh(first, **ids)
    refresh(second, **ids)
    refresh(first, **ids)

    assert written(request_id="req-of-the-life") == [
        "code_issued",
        "activated",
        "refreshed",
        "refresh_repeated",
        "refreshed",
        "reuse_detected",
    ]
    rows = AuditEntry.objects.filter(request_id="req-of-the-life")
    assert {row.correlation_id for row in rows} == {"cor-of-the-life"}
    assert {row.org_id for row in rows} == {org.id}
    assert len({row.family_id for row in rows if row.family_id}) == 1


def test_who_ended_an_installation_is_written_down(org: Org) -> None:
    doomed = make_org()
    by_id = data(org.client.delete(f"/api/tokens/{org.tokens.family.id}", headers=org.headers()))
    post("/api/tokens/revoke", {"refreshToken": doomed.tokens.refresh_token})

    assert by_id == {"revoked": True}
    who = dict(AuditEntry.objects.filter(what="revoked").values_list("org_id", "who"))
    assert who == {
        org.id: f"installation:{org.tokens.family.id}",
        doomed.id: doomed.tokens.family.id,
    }


def test_revoking_twice_is_written_down_once(org: Org) -> None:
    for _ in range(3):
        post("/api/tokens/revoke", {"refreshToken": org.tokens.refresh_token})
        families.revoke_all(org_id=org.id, who="test", now=clock.real_now())

    assert written(what="revoked") == ["revoked"]


def test_a_suspension_by_command_holds_its_reason_and_is_taken_back(org: Org) -> None:
    def run(*words: str) -> str:
        out = StringIO()
        call_command("suspend_org", *words, stdout=out)
        return out.getvalue().strip()

    org.check()
    assert run(org.id, "--reason", "unpaid") == "suspended"
    assert error(org.check())["code"] == "ORG_SUSPENDED"
    assert run(org.id, "--reason", "paid", "--restore") == "restored"
    assert org.check().status_code == 200
    with pytest.raises(CommandError, match="No such organisation"):
        run("org_nobody", "--reason", "x")

    reasons = AuditEntry.objects.filter(org_id=org.id, who="command").order_by("pk")
    assert [(row.what, row.detail["reason"]) for row in reasons] == [
        ("suspended", "unpaid"),
        ("restored", "paid"),
    ]


def test_the_life_of_an_operators_credential_can_be_read_back(transactional_db: None) -> None:
    now = clock.real_now()
    key = operators.create(name="gateway", wanted=["usage:write"], who="staff:1", now=now)
    body = {"keyId": key.key_id, "secret": key.secret}
    post("/api/tokens/operator", body)
    post("/api/tokens/operator", {**body, "secret": "mgo_wrong"})
    operators.rotate(key_id=key.key_id, who="staff:1", now=now)
    operators.drop_previous(key_id=key.key_id, who="staff:1", now=now)
    assert post("/api/tokens/operator", body).status_code == 401
    operators.revoke(key_id=key.key_id, who="staff:1", now=later())

    assert set(written(org_id=key.key_id)) == {
        "operator_key_made",
        "operator_token_issued",
        "operator_key_rotated",
        "operator_secret_dropped",
        "operator_key_revoked",
    }
    assert written(what="operator_token_issued") == ["operator_token_issued"]


def test_a_wrong_secret_of_a_known_key_is_logged_without_it(
    transactional_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    key = operators.create(name="g", wanted=["usage:write"], who="test", now=clock.real_now())

    post("/api/tokens/operator", {"keyId": key.key_id, "secret": "mgo_canary"})
    post("/api/tokens/operator", {"keyId": "opk_unknown", "secret": "mgo_canary"})

    assert caplog.text.count("operator_secret_refused") == 1
    assert "mgo_canary" not in caplog.text


def test_no_row_holds_a_secret(org: Org) -> None:
    code = data(org.post("/api/tokens/codes", {"orgId": org.id}))["activationCode"]
    issued = data(activate(code))
    renewed = data(refresh(issued["refreshToken"]))
    secrets = [
        code,
        *(one[name] for one in (issued, renewed) for name in ("accessToken", "refreshToken")),
    ]

    rows: list[Any] = list(AuditEntry.objects.values())

    text = json.dumps(rows, default=str)
    assert rows
    assert not any(secret in text for secret in secrets)


def test_the_trail_only_grows(org: Org) -> None:
    with pytest.raises((ProgrammingError, InternalError)):
        AuditEntry.objects.update(what="nothing")
    with pytest.raises((ProgrammingError, InternalError)):
        AuditEntry.objects.all().delete()
