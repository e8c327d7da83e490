"""POST /api/tokens/activate: one code, one installation."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import jwt
import pytest
import structlog
from django.conf import settings
from django.db import connection

from config.contract import clock
from tests.support.cast import Org, data, make_org
from tests.tokens.http import activate, later, new_code
from tokens import secrets
from tokens.models import ActivationCode, AuditEntry, RefreshToken, TokenFamily
from tokens.services import issue_code

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 64


def test_a_code_is_traded_for_tokens_of_its_organisation(org: Org) -> None:
    answer = data(activate(new_code(org.id)))

    assert answer["orgId"] == org.id
    assert answer["tokenType"] == "Bearer"
    assert answer["expiresIn"] == 600
    assert answer["domain"] is None
    assert answer["scopes"] == ["entitlements:read", "usage:write"]


def test_the_access_token_says_who_may_do_what_where_and_how_long(org: Org) -> None:
    answer = data(activate(new_code(org.id, domain="shop.example"), Origin="https://shop.example"))

    header = jwt.get_unverified_header(answer["accessToken"])
    claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})
    family = TokenFamily.objects.get(org_id=org.id, domain="shop.example")
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    assert set(header) == {"alg", "typ", "kid"}
    assert {"iss", "sub", "jti", "nbf"} <= set(claims)
    assert (claims["org"], claims["domain"], claims["fam"]) == (org.id, "shop.example", family.id)
    assert (claims["iss"], claims["aud"]) == (settings.TOKEN_ISSUER, settings.TOKEN_AUDIENCE)
    assert claims["scopes"] == ["entitlements:read", "usage:write"]
    assert claims["exp"] - claims["iat"] == 600


def test_the_access_token_opens_what_its_scopes_say(org: Org) -> None:
    token = data(activate(new_code(org.id)))["accessToken"]

    reads = org.client.get("/api/me/entitlements", headers={"Authorization": f"Bearer {token}"})
    pays = org.client.get("/api/invoices", headers={"Authorization": f"Bearer {token}"})

    assert (reads.status_code, pays.status_code) == (200, 403)


def test_nothing_that_opens_a_door_is_stored(org: Org) -> None:
    code = new_code(org.id)

    answer = data(activate(code))

    with connection.cursor() as cursor:
        for table in ("activationcode", "refreshtoken", "tokenfamily", "auditentry"):
            cursor.execute(f"SELECT string_agg(t::text, '') FROM tokens_{table} t")  # noqa: S608
            [[rows]] = cursor.fetchall()
            for secret in (code, answer["refreshToken"], answer["accessToken"]):
                assert secret not in rows
                assert secret.encode().hex() not in rows


def test_an_activation_is_written_down(org: Org) -> None:
    activate(new_code(org.id), **{"x-request-id": "r-1", "x-correlation-id": "c-1"})

    entry = AuditEntry.objects.filter(org_id=org.id).latest("pk")
    assert entry.what == "activated"
    assert (entry.request_id, entry.correlation_id) == ("r-1", "c-1")


def test_a_refused_code_changes_nothing(org: Org) -> None:
    code = new_code(org.id, domain="shop.example")
    before = (TokenFamily.objects.count(), RefreshToken.objects.count())

    response = activate(code, Origin="https://evil.example")

    assert response.status_code == 401
    assert (TokenFamily.objects.count(), RefreshToken.objects.count()) == before
    assert ActivationCode.objects.latest("pk").used_at is None


@pytest.mark.parametrize(
    ("age", "status"),
    [(timedelta(minutes=14, seconds=59), 200), (timedelta(minutes=15, seconds=1), 401)],
)
def test_a_code_lives_fifteen_minutes(age: timedelta, status: int, org: Org) -> None:
    code = secrets.new_code()
    issue_code(
        org_id=org.id,
        code=code,
        scopes=["usage:write"],
        issued_by="test",
        now=clock.real_now() - age,
    )

    assert activate(code).status_code == status


def test_a_code_lives_by_real_time_whatever_the_sandbox_clock_says(org: Org) -> None:
    code = new_code(org.id)
    clock.set_offset(timedelta(days=40).total_seconds())

    answer = activate(code)

    assert answer.status_code == 200
    claims = jwt.decode(data(answer)["accessToken"], options={"verify_signature": False})
    assert claims["iat"] <= later(minutes=1).timestamp()


def test_64_threads_redeem_one_code_and_exactly_one_is_activated(
    transactional_db: None,
) -> None:
    org = make_org()
    code = new_code(org.id)
    families = TokenFamily.objects.count()
    together = Barrier(THREADS, timeout=30)

    def redeem(_: int) -> int:
        together.wait()
        try:
            status: int = activate(code).status_code
            return status
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = sorted(pool.map(redeem, range(THREADS)))

    assert statuses == [200] + [401] * (THREADS - 1)
    assert TokenFamily.objects.count() == families + 1


def test_a_code_shown_twice_is_a_security_event(org: Org) -> None:
    code = new_code(org.id, domain="shop.example")
    activate(code, Origin="https://shop.example")
    family = TokenFamily.objects.get(org_id=org.id, domain="shop.example")

    with structlog.testing.capture_logs() as logs:
        again = [activate(code, Origin="https://shop.example"), activate(code)]

    assert [one.status_code for one in again] == [401, 401]
    events = AuditEntry.objects.filter(what="code_reuse_detected")
    assert [(one.org_id, one.family_id) for one in events] == [(org.id, family.id)] * 2
    warnings = [one for one in logs if one["event"] == "activation_code_reused"]
    assert [(one["log_level"], one["tenant_id"]) for one in warnings] == [("warning", org.id)] * 2
    assert code not in str(logs)


def test_a_code_that_nobody_used_is_no_event(org: Org) -> None:
    activate(new_code(org.id, domain="shop.example"))
    activate("mgc_unknown")

    assert not AuditEntry.objects.filter(what="code_reuse_detected").exists()
