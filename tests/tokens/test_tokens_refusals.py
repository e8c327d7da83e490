"""What a refusal of a code or a refresh token tells: nothing; and which reuse ends a family."""

from datetime import timedelta
from typing import Any

import pytest

from config.contract import clock
from tests.support.cast import Org, data, error, make_org
from tests.tokens.http import activate, later, new_code, post, refresh
from tokens import families
from tokens.models import ActivationCode, AuditEntry, RefreshToken, TokenFamily
from tokens.suspension import suspend

pytestmark = pytest.mark.django_db(transaction=True)

SAME_IDS = {"x-request-id": "same", "x-correlation-id": "same"}


def told(response: Any) -> tuple[int, bytes, dict[str, str]]:
    """Return everything that a client can see of an answer."""
    return response.status_code, response.content, dict(response.headers)


def test_every_way_in_which_a_code_is_no_good_looks_the_same(org: Org, stranger: Org) -> None:
    used, expired, elsewhere, revoked, suspended = (
        new_code(org.id),
        new_code(org.id),
        new_code(org.id, domain="shop.example"),
        new_code(org.id),
        new_code(stranger.id),
    )
    assert activate(used).status_code == 200
    row = ActivationCode.objects.order_by("pk")
    row.filter(pk=row.values("pk")[3:4]).update(
        created_at=later(minutes=-16), expires_at=later(minutes=-1)
    )
    ActivationCode.objects.filter(pk=row.values("pk")[5:6]).update(revoked_at=later())
    suspend(org_id=stranger.id, reason="unpaid", who="test", now=clock.real_now())

    answers = {
        name: told(activate(code, **SAME_IDS, Origin="https://evil.example"))
        for name, code in {
            "unknown": "mgc_" + "a" * 32,
            "no code at all": "x",
            "used": used,
            "expired": expired,
            "for another domain": elsewhere,
            "revoked": revoked,
            "of a suspended organisation": suspended,
        }.items()
    }

    assert len({repr(answer) for answer in answers.values()}) == 1, answers
    assert answers["used"][0] == 401
    assert b"CODE_INVALID" in answers["used"][1]
    # The wrong domain has not used it up.
    assert activate(elsewhere, Origin="https://shop.example").status_code == 200


def test_every_way_in_which_a_refresh_token_is_no_good_looks_the_same(
    org: Org, stranger: Org
) -> None:
    old = org.tokens.refresh_token
    newer = data(refresh(old))["refreshToken"]
    newest = data(refresh(newer))["refreshToken"]
    expired = stranger.tokens.refresh_token
    RefreshToken.objects.filter(family=stranger.tokens.family).update(expires_at=later(days=-1))

    answers = {
        name: told(refresh(token, **SAME_IDS))
        for name, token in {
            "unknown": "mgr_" + "a" * 32,
            "used": old,
            "of a family that ended": newest,
            "expired": expired,
        }.items()
    }

    assert len({repr(answer) for answer in answers.values()}) == 1, answers
    assert b"REFRESH_INVALID" in answers["used"][1]


@pytest.mark.parametrize("seconds", [11, 3600, 29 * 86400])
def test_reuse_outside_the_grace_ends_the_family_and_is_written_down(
    org: Org, seconds: int
) -> None:
    token = org.tokens.refresh_token
    successor = data(refresh(token))["refreshToken"]

    with pytest.raises(families.RefreshInvalid):
        families.refresh(token=token, domain=None, now=later(seconds=seconds))

    assert TokenFamily.objects.get().revoked_reason == "reuse"
    assert AuditEntry.objects.filter(what="reuse_detected", org_id=org.id).count() == 1
    assert refresh(successor).status_code == 401
    assert error(org.check())["code"] == "UNAUTHENTICATED"


def test_within_the_grace_each_repeat_is_written_down_and_gives_the_same(org: Org) -> None:
    token = org.tokens.refresh_token

    given = {data(refresh(token))["refreshToken"] for _ in range(3)}

    assert len(given) == 1
    assert RefreshToken.objects.count() == 2
    assert AuditEntry.objects.filter(what="refreshed").count() == 1
    assert AuditEntry.objects.filter(what="refresh_repeated").count() == 2


def test_the_first_of_a_chain_of_three_is_reuse_even_within_the_grace(org: Org) -> None:
    first = org.tokens.refresh_token
    second = data(refresh(first))["refreshToken"]
    third = data(refresh(second))["refreshToken"]

    answers = [refresh(token) for token in (first, second, third)]

    assert [error(answer)["code"] for answer in answers] == ["REFRESH_INVALID"] * 3
    assert TokenFamily.objects.get().revoked_reason == "reuse"


def test_the_predecessor_of_a_used_token_is_reuse_even_within_the_grace(org: Org) -> None:
    first = org.tokens.refresh_token
    second = data(refresh(first))["refreshToken"]
    refresh(second)

    assert refresh(first).status_code == 401

    assert TokenFamily.objects.get().revoked_at is not None


def test_a_copied_token_ends_the_family_from_whatever_domain_it_is_shown() -> None:
    org = make_org(domain="shop.example")
    here = {"Origin": "https://shop.example"}
    first = org.tokens.refresh_token
    second = data(refresh(first, **here))["refreshToken"]
    refresh(second, **here)

    answer = refresh(first, Origin="https://evil.example")

    assert error(answer)["code"] == "REFRESH_INVALID"
    assert TokenFamily.objects.get().revoked_reason == "reuse"


def test_a_token_used_and_meanwhile_over_is_still_reuse(org: Org) -> None:
    first = org.tokens.refresh_token
    now = clock.real_now()
    second = families.refresh(token=first, domain=None, now=now + timedelta(days=29))
    family = families.refresh(
        token=second.refresh_token, domain=None, now=now + timedelta(days=40)
    ).family

    with pytest.raises(families.RefreshInvalid):
        families.refresh(token=first, domain=None, now=now + timedelta(days=41))

    family.refresh_from_db()
    assert family.revoked_reason == "reuse"


def test_the_wrong_domain_uses_nothing_up() -> None:
    org = make_org(domain="shop.example")
    token = org.tokens.refresh_token

    for origin in ("https://evil.example", "null"):
        assert error(refresh(token, Origin=origin))["code"] == "DOMAIN_MISMATCH"
    assert error(refresh(token))["code"] == "DOMAIN_MISMATCH"

    assert refresh(token, Origin="https://shop.example").status_code == 200


def test_an_installation_that_refreshes_lives_on_and_one_that_does_not_ends(org: Org) -> None:
    now, token = clock.real_now(), org.tokens.refresh_token

    for day in (29, 58, 87):
        token = families.refresh(
            token=token, domain=None, now=now + timedelta(days=day)
        ).refresh_token
    with pytest.raises(families.RefreshInvalid):
        families.refresh(token=token, domain=None, now=now + timedelta(days=118))

    assert not families.live_families(org.id, now=now + timedelta(days=118)).exists()
    assert TokenFamily.objects.get().revoked_at is None  # over, and nobody's fault


def test_revoking_always_says_yes_and_says_nothing_else(org: Org) -> None:
    answers = [
        told(post("/api/tokens/revoke", {"refreshToken": token}, **SAME_IDS))
        for token in ("mgr_unknown", org.tokens.refresh_token, org.tokens.refresh_token)
    ]

    assert len({repr(answer) for answer in answers}) == 1
    assert TokenFamily.objects.get().revoked_at is not None


def test_a_code_is_one_of_a_number_nobody_can_guess_and_is_not_stored() -> None:
    org = make_org()
    codes = {new_code(org.id) for _ in range(50)}

    stored = [bytes(row.code_hash) for row in ActivationCode.objects.all()]

    assert len(codes) == 50
    assert all(len(code.removeprefix("mgc_")) * 5 >= 128 for code in codes)
    assert not any(code.encode() in one for code in codes for one in stored)
