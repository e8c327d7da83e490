"""POST /api/tokens/refresh and revoke: rotation, the lost answer, reuse."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from config.contract import clock
from tests.support.cast import Org, data, error, make_org, tokens_for
from tokens import families
from tokens.models import AuditEntry, RefreshToken, TokenFamily
from tokens.scopes import OWNER
from tokens.suspension import restore, suspend

pytestmark = pytest.mark.django_db(transaction=True)


def post(path: str, body: dict[str, Any], **headers: str) -> Any:
    return Client().post(
        path, json.dumps(body), content_type="application/json", headers=headers or None
    )


def refresh(token: str, **headers: str) -> Any:
    return post("/api/tokens/refresh", {"refreshToken": token}, **headers)


def later(seconds: float) -> Any:
    return clock.real_now() + timedelta(seconds=seconds)


def test_refreshing_rotates_the_token_and_the_new_one_works(org: Org) -> None:
    first = org.tokens.refresh_token

    answer = data(refresh(first))

    assert answer["refreshToken"] != first
    assert answer["orgId"] == org.id
    assert answer["expiresIn"] == 600
    check = org.client.get(
        "/api/me/entitlements", headers={"Authorization": f"Bearer {answer['accessToken']}"}
    )
    assert check.status_code == 200
    assert refresh(first).headers["Cache-Control"] == "no-store"


def test_a_lost_answer_is_given_again_with_the_same_successor(org: Org) -> None:
    first = data(refresh(org.tokens.refresh_token))

    again = data(refresh(org.tokens.refresh_token))

    assert again["refreshToken"] == first["refreshToken"]


def test_reuse_after_the_grace_ends_the_family(org: Org) -> None:
    token = org.tokens.refresh_token
    successor = families.refresh(token=token, domain=None, now=clock.real_now()).refresh_token

    with pytest.raises(families.RefreshInvalid):
        families.refresh(token=token, domain=None, now=later(11))

    assert error(refresh(successor))["code"] == "REFRESH_INVALID"
    assert org.get("/api/me/entitlements").status_code == 401
    assert TokenFamily.objects.get().revoked_reason == "reuse"
    assert AuditEntry.objects.filter(what="reuse_detected").exists()


def test_an_older_token_of_the_chain_is_reuse_even_within_the_grace(org: Org) -> None:
    first = org.tokens.refresh_token
    second = data(refresh(first))["refreshToken"]
    third = data(refresh(second))["refreshToken"]

    assert refresh(first).status_code == 401

    assert refresh(third).status_code == 401


def test_32_threads_refresh_one_token_and_get_one_successor(org: Org) -> None:
    def rotate(_: int) -> str:
        try:
            issued = families.refresh(
                token=org.tokens.refresh_token, domain=None, now=clock.real_now()
            )
            return issued.refresh_token
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as pool:
        successors = set(pool.map(rotate, range(32)))

    assert len(successors) == 1
    assert RefreshToken.objects.count() == 2


def test_unknown_and_expired_tokens_look_the_same(org: Org) -> None:
    ids = {"x-request-id": "same", "x-correlation-id": "same"}
    RefreshToken.objects.update(expires_at=later(-1))

    expired = refresh(org.tokens.refresh_token, **ids)
    unknown = refresh("mgr_unknown", **ids)

    assert expired.status_code == unknown.status_code == 401
    assert expired.content == unknown.content


def test_revoking_by_token_ends_access_at_the_next_request_and_always_says_yes(org: Org) -> None:
    assert org.check().status_code == 200

    revoked = post("/api/tokens/revoke", {"refreshToken": org.tokens.refresh_token})
    unknown = post("/api/tokens/revoke", {"refreshToken": "mgr_unknown"})

    assert data(revoked) == data(unknown) == {"revoked": True}
    assert error(org.check())["code"] == "UNAUTHENTICATED"


def test_a_family_bound_to_a_domain_refreshes_only_there(transactional_db: None) -> None:
    org = make_org(domain="shop.example")

    elsewhere = refresh(org.tokens.refresh_token, Origin="https://evil.example")
    here = refresh(org.tokens.refresh_token, Origin="https://shop.example")

    assert error(elsewhere)["code"] == "DOMAIN_MISMATCH"
    assert here.status_code == 200


def test_a_suspended_organisation_is_refused_everywhere_and_let_back_in(org: Org) -> None:
    now = clock.real_now()
    assert org.check().status_code == 200

    suspend(org_id=org.id, reason="unpaid invoice", who="staff:1", now=now)

    assert error(org.check())["code"] == "ORG_SUSPENDED"
    assert error(refresh(org.tokens.refresh_token))["code"] == "ORG_SUSPENDED"
    restore(org_id=org.id, reason="paid", who="staff:1", now=now)
    assert org.check().status_code == 200
    assert refresh(org.tokens.refresh_token).status_code == 200


def test_families_are_listed_and_revoked_by_id_within_the_organisation(
    org: Org, stranger: Org
) -> None:
    plugin = tokens_for(org.id, OWNER, domain="shop.example")

    listed = data(org.get("/api/tokens"))["families"]
    foreign = stranger.client.delete(f"/api/tokens/{plugin.family.id}", headers=stranger.headers())
    revoked = org.client.delete(f"/api/tokens/{plugin.family.id}", headers=org.headers())

    assert [one["domain"] for one in listed] == ["shop.example", None]
    assert foreign.status_code == 404
    assert data(revoked) == {"revoked": True}
    assert len(data(org.get("/api/tokens"))["families"]) == 1
