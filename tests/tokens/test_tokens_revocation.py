"""Revocation and suspension are felt at the next request, whatever the copy knows."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from config.contract import clock
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from config.contract.copy_publisher import Field
from config.contract.hotpool import close_pool
from config.contract.wire import Wire
from tests.support.cast import Org, data, error, tokens_for
from tests.tokens.http import activate, new_code, refresh
from tokens import access, families, operators
from tokens.codes import create_code
from tokens.models import AuditEntry, OrgAccess, TokenFamily
from tokens.scopes import INSTALLATION
from tokens.suspension import restore, suspend

pytestmark = pytest.mark.django_db(transaction=True)

NOBODY_LISTENS = "unix:///nowhere/valkey.sock"


def revoke(org: Org) -> None:
    families.revoke_family(
        org_id=org.id, family_id=org.tokens.family.id, who="test", now=clock.real_now()
    )


def held_summary(org_id: str) -> access.AuthSummary | None:
    held = clients.copy.read(org_id)
    found = held.get(access.FIELD) if held else None
    return access._decode(found) if found else None


def test_the_copy_alone_lets_a_caller_in(org: Org) -> None:
    org.check()  # fills the copy
    # A change that never went through the service, so that only the copy does not know it.
    OrgAccess.objects.filter(org_id=org.id).update(suspended_at=clock.real_now())

    by_copy = org.check()
    clients.copy.forget(org.id)
    by_database = org.check()

    assert by_copy.status_code == 200
    assert error(by_database)["code"] == "ORG_SUSPENDED"


@pytest.mark.parametrize("path", ["/api/quota/check", "/api/me/entitlements"])
def test_without_a_copy_the_database_is_asked(org: Org, path: str) -> None:
    revoke(org)
    clients.copy.forget(org.id)

    answer = org.check() if path.endswith("check") else org.get(path)

    assert error(answer)["code"] == "UNAUTHENTICATED"


def test_with_valkey_away_revocation_is_still_felt_at_once(org: Org) -> None:
    with clients.swapped("copy", OrgCopy(NOBODY_LISTENS)):
        before = org.check()
        revoke(org)
        after = org.check()

    assert before.status_code == 200
    assert error(after)["code"] == "UNAUTHENTICATED"


def test_a_process_that_could_not_publish_a_revocation_knows_that_its_copy_is_stale(
    org: Org,
) -> None:
    org.check()
    lame = OrgCopy(NOBODY_LISTENS)
    with clients.swapped("copy", lame):
        revoke(org)
    # Valkey is back; what it holds is from before.
    lame._wire = Wire(settings.VALKEY_URL)
    lame._broken_until = 0.0

    with clients.swapped("copy", lame):
        answer = org.check()

    assert error(answer)["code"] == "UNAUTHENTICATED"


def test_a_revocation_that_cannot_be_read_back_leaves_no_copy_behind(org: Org) -> None:
    org.check()
    assert held_summary(org.id) is not None
    OrgAccess.objects.filter(org_id=org.id).update(suspended_at=clock.real_now())
    good = connection.settings_dict["OPTIONS"]
    broken = {**good, "options": good["options"] + " -c role=nobody_of_that_name"}
    close_pool()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "OPTIONS", broken)
        access.publish(org.id)
    close_pool()

    assert error(org.check())["code"] == "ORG_SUSPENDED"


def test_a_slow_publisher_does_not_undo_a_newer_word(org: Org) -> None:
    org.check()
    older = held_summary(org.id)
    assert older is not None
    revoke(org)

    clients.copy.publish(org.id, [access._field(older)])

    assert error(org.check())["code"] == "UNAUTHENTICATED"


def test_each_change_is_a_higher_generation(org: Org) -> None:
    other = tokens_for(org.id, INSTALLATION)
    seen = []
    for change in (
        lambda now: suspend(org_id=org.id, reason="unpaid", who="test", now=now),
        lambda now: restore(org_id=org.id, reason="paid", who="test", now=now),
        lambda now: families.revoke_by_token(token=other.refresh_token, now=now),
        lambda now: families.revoke_all(org_id=org.id, who="test", now=now),
    ):
        change(clock.real_now())
        held = held_summary(org.id)
        assert held is not None
        seen.append(held.generation)

    assert seen == sorted(set(seen))


def test_a_copy_of_another_form_is_as_good_as_none(org: Org) -> None:
    nonsense = Field(access.FIELD, 1, 0, 99, b"\x93\x01\x02\x03")
    clients.copy.publish(org.id, [nonsense])

    assert org.check().status_code == 200
    revoke(org)
    clients.copy.publish(org.id, [nonsense])
    assert error(org.check())["code"] == "UNAUTHENTICATED"


def test_the_list_of_revoked_families_outlives_their_tokens_and_no_more(org: Org) -> None:
    family = org.tokens.family.id
    revoke(org)
    life = settings.ACCESS_TOKEN_LIFE

    listed = {}
    for name, age in (("last token", life + timedelta(seconds=30)), ("gone", 2 * life)):
        TokenFamily.objects.filter(id=family).update(revoked_at=clock.real_now() - age)
        summary = access.summary(org.id, None)
        assert summary is not None
        listed[name] = family in summary.revoked

    assert listed == {"last token": True, "gone": False}


def test_revoking_one_installation_leaves_the_others_alone(org: Org) -> None:
    other = tokens_for(org.id, INSTALLATION)

    families.revoke_by_token(token=other.refresh_token, now=clock.real_now())

    assert org.check().status_code == 200
    assert refresh(other.refresh_token).status_code == 401


def test_revoking_all_of_an_organisation_takes_its_unused_codes_too(
    org: Org, stranger: Org
) -> None:
    code = new_code(org.id)
    theirs = new_code(stranger.id)
    org.check()

    ended = families.revoke_all(org_id=org.id, who="staff:1", now=clock.real_now())

    assert ended == 2
    assert error(org.check())["code"] == "UNAUTHENTICATED"
    assert refresh(org.tokens.refresh_token).status_code == 401
    assert error(activate(code))["code"] == "CODE_INVALID"
    assert activate(theirs).status_code == stranger.check().status_code == 200
    assert AuditEntry.objects.get(what="codes_revoked").detail == {"codes": 1}


def test_the_command_revokes_one_or_all_and_names_what_it_cannot_find(org: Org) -> None:
    other = tokens_for(org.id, INSTALLATION)

    def run(*words: str) -> str:
        out = StringIO()
        call_command("revoke_tokens", *words, stdout=out)
        return out.getvalue()

    run(org.id, "--family", other.family.id)
    assert refresh(other.refresh_token).status_code == 401
    assert org.check().status_code == 200
    assert "1 installations" in run(org.id)
    assert error(org.check())["code"] == "UNAUTHENTICATED"
    with pytest.raises(CommandError):
        run("org_nobody")
    with pytest.raises(CommandError):
        run(org.id, "--family", "fam_nobody")


def test_an_operators_key_is_nobodys_organisation(org: Org) -> None:
    now = clock.real_now()
    key = operators.create(name="gateway", wanted=["billing:write"], who="test", now=now)
    token, _ = operators.operator_token(key_id=key.key_id, secret=key.secret, now=now)

    answer = org.client.post(
        "/api/tokens/codes",
        {"orgId": key.key_id},
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )

    assert error(answer)["code"] == "NOT_FOUND"
    for act in (
        lambda: create_code(org_id=key.key_id, issued_by="test", now=now),
        lambda: suspend(org_id=key.key_id, reason="", who="test", now=now),
    ):
        with pytest.raises(Exception, match="Not found"):
            act()
    assert not access.exists(key.key_id)


def test_a_revoked_credential_gets_no_new_secret_and_cannot_be_restored(
    transactional_db: None,
) -> None:
    now = clock.real_now()
    key = operators.create(name="gateway", wanted=["usage:write"], who="test", now=now)
    operators.revoke(key_id=key.key_id, who="test", now=now)

    for act in (
        lambda: operators.rotate(key_id=key.key_id, who="test", now=now),
        lambda: restore(org_id=key.key_id, reason="", who="test", now=now),
    ):
        with pytest.raises(Exception, match="Not found"):
            act()


def test_a_suspension_during_a_refresh_leaves_no_usable_token(org: Org) -> None:
    issued: Any = data(refresh(org.tokens.refresh_token))
    suspend(org_id=org.id, reason="unpaid", who="test", now=clock.real_now())

    answer = org.client.get(
        "/api/me/entitlements", headers={"Authorization": f"Bearer {issued['accessToken']}"}
    )

    assert error(answer)["code"] == "ORG_SUSPENDED"


def test_an_id_that_is_none_is_not_found(org: Org) -> None:
    for written in ("%00", "%F0%9F%92%A9", "a%20b", "x" * 2000):
        answer = org.client.delete(f"/api/tokens/{written}", headers=org.headers())
        assert error(answer)["code"] == "NOT_FOUND"


def test_the_copys_time_to_live_bounds_what_it_may_miss(org: Org, valkey: "redis.Redis") -> None:
    org.check()

    left = valkey.pttl(f"o:{{{org.id}}}")

    assert isinstance(left, int)
    assert 0 < left <= settings.COPY_TTL * 1000
