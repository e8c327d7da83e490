"""Who may call: codes, installations, suspension and operators, as staff see to it."""

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from config.backoffice.models import StaffAct
from tests.backoffice.acting import REASON, Look, Staff, confirm, do, look
from tests.support.cast import Org, data, error, tokens_for
from tests.tokens.http import activate, new_code, post
from tokens.models import ActivationCode, AuditEntry, OperatorKey, OrgAccess
from tokens.scopes import INSTALLATION

pytestmark = pytest.mark.django_db(transaction=True)


def secret_of(answer: Any) -> str:
    """Return what the page shows once."""
    assert "no-store" in answer.headers["Cache-Control"]
    found = re.search(r'<code class="acts-secret[^>]*>([^<]+)</code>', answer.content.decode())
    assert found, Look(answer).text
    return found[1]


def a_code(client: Client, org: Org, **more: Any) -> Look:
    return look(client, "issue-code", org_id=org.id, scopes=list(INSTALLATION), **more)


def test_a_code_is_shown_once_and_opens_the_door(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    looked = a_code(client, org, domain="Shop.Example")

    answer = confirm(client, "issue-code", looked)
    again = confirm(client, "issue-code", looked)

    code = secret_of(answer)
    assert looked.changes["The code works"] == ("–", "on shop.example")
    assert looked.changes["Installations and waiting codes"] == ("1 of 5", "2 of 5")
    assert activate(code, Origin="https://shop.example").status_code == 200
    assert again.status_code == 302
    page = client.get(again.headers["Location"]).content.decode()
    assert code not in page
    assert ActivationCode.objects.filter(issued_by__startswith="staff:").count() == 1


def test_the_code_is_nowhere_but_on_the_page(staff: Staff, org: Org) -> None:
    client = staff("billing admin")

    answer = confirm(client, "issue-code", a_code(client, org))

    code = secret_of(answer)
    assert code not in str(StaffAct.objects.values().get())
    assert code not in str(client.cookies)
    assert code not in str(dict(client.session))
    assert not mail.outbox


def test_a_full_plan_takes_no_further_installation(staff: Staff, org: Org) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(installation_limit=1)

    looked = a_code(staff("billing admin"), org)

    assert "The plan allows no further installation" in looked.text


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"domain": "no host"}, "Expected a host name"), ({"scopes": ["usage:void"]}, "valid choice")],
)
def test_nonsense_is_said_at_the_field(
    staff: Staff, org: Org, asked: dict[str, Any], said: str
) -> None:
    fields = {"org_id": org.id, "scopes": list(INSTALLATION), **asked}

    looked = look(staff("billing admin"), "issue-code", **fields)

    assert said in looked.text


def test_a_waiting_code_is_revoked_from_its_page(staff: Staff, org: Org) -> None:
    code = new_code(org.id)
    row = ActivationCode.objects.get(used_at=None)
    client = staff("billing admin")

    page = client.get(f"/admin/tokens/activationcode/{row.pk}/change/").content.decode()
    do(client, "revoke-code", org_id=org.id, code_id=row.pk)

    assert f"/admin/acts/revoke-code/?org_id={org.id}&amp;code_id={row.pk}" in page
    assert activate(code).status_code == 401
    assert AuditEntry.objects.latest("pk").what == "code_revoked"
    assert not look(client, "revoke-code", org_id=org.id, code_id=row.pk).can_be_confirmed


def test_a_code_that_is_used_while_somebody_reads_is_not_revoked(staff: Staff, org: Org) -> None:
    code = new_code(org.id)
    row = ActivationCode.objects.get(used_at=None)
    client = staff("billing admin")
    looked = look(client, "revoke-code", org_id=org.id, code_id=row.pk)
    activate(code)

    late = Look(confirm(client, "revoke-code", looked))

    assert (late.response.status_code, late.can_be_confirmed) == (409, False)


def test_one_installation_is_revoked_and_the_others_stay(staff: Staff, org: Org) -> None:
    plugin = Org(org.id, tokens_for(org.id, INSTALLATION))
    client = staff("billing admin")
    family = plugin.tokens.family.id

    page = client.get(f"/admin/tokens/tokenfamily/{family}/change/").content.decode()
    do(client, "revoke-installation", org_id=org.id, family_id=family)

    assert f"family_id={family}" in page
    assert (plugin.check().status_code, org.check().status_code) == (401, 200)
    gone = client.get(f"/admin/tokens/tokenfamily/{family}/change/").content.decode()
    assert "/admin/acts/revoke-installation/" not in gone


@pytest.mark.parametrize("act", ["revoke-installation", "revoke-code"])
def test_a_thing_of_another_organisation_is_not_found(
    staff: Staff, org: Org, stranger: Org, act: str
) -> None:
    new_code(stranger.id)
    theirs = {
        "family_id": stranger.tokens.family.id,
        "code_id": ActivationCode.objects.get(used_at=None).pk,
    }

    looked = look(staff("billing admin"), act, org_id=org.id, **theirs)

    assert "The organisation has no such" in looked.text


def test_all_installations_and_codes_are_revoked(staff: Staff, org: Org) -> None:
    code = new_code(org.id)
    client = staff("billing admin")

    looked = look(client, "revoke-all", org_id=org.id)

    assert looked.changes == {"Live installations": ("1", "0"), "Waiting codes": ("1", "0")}
    confirm(client, "revoke-all", looked)
    assert org.check().status_code == 401
    assert activate(code).status_code == 401


def test_an_organisation_is_suspended_and_let_back_in(staff: Staff, org: Org) -> None:
    client = staff("billing admin")

    do(client, "suspend-organization", org_id=org.id)
    refused = error(org.check())["code"]
    page = client.get(f"/admin/billing/organization/{org.id}/change/").content.decode()
    do(client, "restore-organization", org_id=org.id)

    assert refused == "ORG_SUSPENDED"
    assert "/admin/acts/restore-organization/" in page
    assert "/admin/acts/suspend-organization/" not in page
    assert org.check().status_code == 200
    entries = AuditEntry.objects.filter(what__in=["suspended", "restored"])
    assert {entry.detail["reason"] for entry in entries} == {REASON}


def operator_token(key_id: str, secret: str) -> int:
    status: int = post("/api/tokens/operator", {"keyId": key_id, "secret": secret}).status_code
    return status


def test_an_operator_credential_lives_through_all_its_acts(staff: Staff) -> None:
    client = staff("superuser")
    made = look(client, "create-operator-key", key_name="gateway", scopes=["usage:write"])
    key_id, first = secret_of(confirm(client, "create-operator-key", made)).split()
    rotated = look(client, "rotate-operator-key", key_id=key_id)
    second = secret_of(confirm(client, "rotate-operator-key", rotated))

    both = [operator_token(key_id, one) for one in (first, second)]
    do(client, "drop-operator-key-secret", key_id=key_id)
    newest = [operator_token(key_id, one) for one in (first, second)]
    do(client, "revoke-operator-key", key_id=key_id)
    none = [operator_token(key_id, one) for one in (first, second)]

    assert (both, newest, none) == ([200, 200], [401, 200], [401, 401])
    assert rotated.changes["Secrets of gateway"] == (
        "1 live",
        "2 live: the new one and the one before",
    )
    page = client.get(f"/admin/tokens/operatorkey/{key_id}/change/").content.decode()
    assert "/admin/acts/rotate-operator-key/" not in page


def test_a_credential_with_one_secret_has_none_to_drop(staff: Staff) -> None:
    client = staff("superuser")
    made = look(client, "create-operator-key", key_name="gateway", scopes=["usage:write"])
    key_id, _ = secret_of(confirm(client, "create-operator-key", made)).split()

    looked = look(client, "drop-operator-key-secret", key_id=key_id)

    assert "It has one secret only" in looked.text
    assert not looked.can_be_confirmed


def test_a_rotation_that_somebody_else_did_is_not_done_again(staff: Staff) -> None:
    client = staff("superuser")
    made = look(client, "create-operator-key", key_name="gateway", scopes=["usage:write"])
    key_id, first = secret_of(confirm(client, "create-operator-key", made)).split()
    mine = look(client, "rotate-operator-key", key_id=key_id)
    theirs = look(client, "rotate-operator-key", key_id=key_id)
    confirm(client, "rotate-operator-key", theirs)

    late = confirm(client, "rotate-operator-key", mine)

    assert late.status_code == 409
    assert operator_token(key_id, first) == 200
    assert OperatorKey.objects.get().previous_secret_hash is not None


def test_the_answer_with_a_secret_is_not_in_the_api(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    code = secret_of(confirm(client, "issue-code", a_code(client, org)))

    assert code not in str(data(org.get("/api/tokens")))
