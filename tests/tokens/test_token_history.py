"""Who may call is kept with its history: who changed it and why, and nothing secret."""

from typing import Any

import pytest
from django.db import DatabaseError

from config.contract import clock
from tests.support.cast import Org
from tokens import operators, scopes, secrets, suspension
from tokens.codes import create_code, revoke_code
from tokens.families import refresh, revoke_all
from tokens.models import ActivationCode, OperatorKey, OrgAccess, TokenFamily

pytestmark = pytest.mark.django_db(transaction=True)
TRACKED: list[Any] = [OrgAccess, TokenFamily, ActivationCode, OperatorKey]


def history_of(model: Any, **of: Any) -> list[Any]:
    return list(model.pgh_event_model.objects.filter(**of).order_by("pgh_id"))


def why(copy: Any) -> tuple[str, str | None]:
    return copy.pgh_context["why"], copy.pgh_context.get("who")


def test_an_installation_tells_when_it_was_activated_and_why_it_ended(org: Org) -> None:
    revoke_all(org_id=org.id, who="staff:7", now=clock.real_now())

    began, ended = history_of(TokenFamily, org_id=org.id)

    assert (began.pgh_label, why(began)) == ("insert", ("activated", None))
    assert (ended.pgh_label, why(ended)) == ("update", ("revoked", "staff:7"))
    assert ended.revoked_reason == "revoked"


def test_a_refresh_adds_nothing_to_the_history(org: Org) -> None:
    refresh(token=org.tokens.refresh_token, domain=None, now=clock.real_now())

    assert len(history_of(TokenFamily, org_id=org.id)) == 1


def test_a_code_tells_who_issued_it_and_who_ended_it(org: Org) -> None:
    create_code(org_id=org.id, issued_by="owner", now=clock.real_now())
    code = ActivationCode.objects.latest("pk")

    revoke_code(org_id=org.id, code_id=code.pk, who="staff:7", now=clock.real_now())

    issued, ended = history_of(ActivationCode, id=code.pk)
    assert why(issued) == ("code issued", "owner")
    assert why(ended) == ("code revoked", "staff:7")


def test_a_suspension_tells_its_reason(org: Org) -> None:
    suspension.suspend(org_id=org.id, reason="abuse", who="staff:7", now=clock.real_now())

    newest = history_of(OrgAccess, org_id=org.id)[-1]

    assert newest.suspended_reason == "abuse"
    assert why(newest) == ("suspended: abuse", "staff:7")


def test_an_operator_key_tells_its_rotation_and_its_end() -> None:
    now = clock.real_now()
    made = operators.create(name="gateway", wanted=sorted(scopes.OPERATOR), who="ops", now=now)
    operators.operator_token(key_id=made.key_id, secret=made.secret, now=now)
    operators.rotate(key_id=made.key_id, who="ops", now=now)
    operators.revoke(key_id=made.key_id, who="ops", now=now)

    kept = history_of(OperatorKey, key_id=made.key_id)

    assert [one.pgh_context["why"] for one in kept] == [
        "operator key made",
        "operator key rotated",
        "operator key revoked",
    ]


def test_no_history_holds_a_secret_or_its_hash(org: Org) -> None:
    made = operators.create(
        name="gateway", wanted=sorted(scopes.OPERATOR), who="ops", now=clock.real_now()
    )

    for model in TRACKED:
        columns = {field.name for field in model.pgh_event_model._meta.get_fields()}
        assert not {name for name in columns if "hash" in name or "secret" in name}
        kept = str([vars(one) for one in history_of(model)])
        assert made.secret not in kept
        assert secrets.hashed(made.secret).hex() not in kept
        assert org.tokens.refresh_token not in kept


@pytest.mark.parametrize("model", TRACKED)
def test_the_application_cannot_change_it(org: Org, model: Any) -> None:
    with pytest.raises(DatabaseError, match="permission denied"):
        model.pgh_event_model.objects.update(pgh_label="x")
