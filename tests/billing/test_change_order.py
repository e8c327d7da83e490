"""In which order a change is checked: who asks, what, for whom, and only then the state."""

from typing import Any

import pytest

from billing.models import Operation
from tests.billing.owners import Owner, new_owner
from tests.contract.state import nothing_written
from tests.sandbox.server import Control
from tests.support.cast import error, tokens_for

WRITES: dict[str, dict[str, Any]] = {
    "upgrade": {"newPlanCode": "pro"},
    "downgrade": {"newPlanCode": "starter"},
    "cancel": {"at": "now"},
    "resume": {},
    "subscribe": {"planCode": "pro"},
}
each_write = pytest.mark.parametrize("verb", WRITES)


def ask(owner: Owner, verb: str, org_id: str | None = None, **more: Any) -> Any:
    """POST a change for an organisation (its own, if none is named)."""
    body = {"orgId": org_id or owner.id, **WRITES.get(verb, {}), **more}
    return owner.post(f"/api/plans/{verb}", body)


def code(response: Any) -> tuple[int, str]:
    """Return status and code of a refusal."""
    return response.status_code, error(response)["code"]


def with_scopes(owner: Owner, *scopes: str) -> Owner:
    """Return the same organisation with a token that may do only this."""
    return Owner(owner.id, tokens_for(owner.id, scopes))


@each_write
def test_the_scope_comes_before_the_body(owner: Owner, verb: str) -> None:
    reader = with_scopes(owner, "billing:read", "usage:write", "entitlements:read")

    assert code(ask(reader, verb, nonsense=1)) == (403, "SCOPE_MISSING")
    assert code(reader.keep_plan()) == (403, "SCOPE_MISSING")


def test_a_preview_only_reads(owner: Owner) -> None:
    reader, user = with_scopes(owner, "billing:read"), with_scopes(owner, "usage:write")

    assert reader.preview("pro").status_code == 200
    assert code(user.preview("pro")) == (403, "SCOPE_MISSING")


@each_write
def test_the_body_comes_before_the_tenant(owner: Owner, verb: str) -> None:
    neighbour = new_owner("Neighbour")

    assert code(ask(owner, verb, neighbour.id, nonsense=1)) == (400, "VALIDATION_ERROR")


@each_write
def test_the_tenant_comes_before_the_plan_and_the_state(owner: Owner, verb: str) -> None:
    neighbour = new_owner("Neighbour")
    more = {name: "platinum" for name in WRITES[verb] if name.lower().endswith("plancode")}

    with nothing_written():
        response = ask(owner, verb, neighbour.id, **more)

    assert code(response) == (403, "TENANT_MISMATCH")


def test_nobody_takes_back_anothers_downgrade(owner: Owner, sandbox: Control) -> None:
    neighbour = new_owner("Neighbour")
    neighbour.upgrade("pro")
    neighbour.downgrade("starter")

    response = owner.client.delete(
        f"/api/plans/downgrade?orgId={neighbour.id}", headers=owner.headers()
    )

    assert code(response) == (403, "TENANT_MISMATCH")
    assert neighbour.entitlements()["scheduledChange"] is not None


@pytest.mark.parametrize("query", ["", "?orgId=", "?orgId=a&orgId=b", "?org=x"])
def test_taking_a_downgrade_back_needs_its_organisation(owner: Owner, query: str) -> None:
    response = owner.client.delete(f"/api/plans/downgrade{query}", headers=owner.headers())

    assert code(response) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("verb", ["upgrade", "downgrade", "subscribe"])
def test_the_plan_comes_before_the_state(owner: Owner, verb: str) -> None:
    owner.cancel("now")
    field = "planCode" if verb == "subscribe" else "newPlanCode"

    response = ask(owner, verb, **{field: "platinum"})

    assert code(response) == (400, "VALIDATION_ERROR")
    assert error(response)["details"] == {"fields": {field: ["Unknown plan"]}}


@pytest.mark.parametrize("verb", ["upgrade", "downgrade", "cancel", "resume"])
def test_without_a_subscription_every_change_is_a_conflict(owner: Owner, verb: str) -> None:
    owner.cancel("now")

    assert code(ask(owner, verb)) == (409, "PLAN_CHANGE_CONFLICT")
    assert owner.keep_plan().json()["data"] == {"cancelled": False}


def test_a_repeat_comes_before_the_state(owner: Owner) -> None:
    first = owner.cancel("now", key="k")

    again, other = owner.cancel("now", key="k"), owner.cancel("now", key="other")

    assert again.content == first.content
    assert code(other) == (409, "PLAN_CHANGE_CONFLICT")


@pytest.mark.parametrize(
    ("verb", "more", "field"),
    [
        ("upgrade", {"prorationDate": -1}, "prorationDate"),
        ("upgrade", {"prorationDate": 2**41}, "prorationDate"),
        ("upgrade", {"expectedAmount": 2**54}, "expectedAmount"),
        ("upgrade", {"newPlanCode": ""}, "newPlanCode"),
        ("upgrade", {"newPlanCode": "x" * 41}, "newPlanCode"),
        ("downgrade", {"newPlanCode": None}, "newPlanCode"),
        ("cancel", {"at": "tomorrow"}, "at"),
        ("subscribe", {"planCode": 1}, "planCode"),
        ("preview", {"planCode": "pro", "proration": "some"}, "proration"),
        ("resume", {"at": "now"}, "at"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_written(
    owner: Owner, verb: str, more: dict[str, Any], field: str
) -> None:
    with nothing_written():
        response = ask(owner, verb, **more)

    assert code(response) == (400, "VALIDATION_ERROR")
    assert set(error(response)["details"]["fields"]) == {field}
    assert not Operation.objects.exclude(kind=Operation.Kind.SIGN_UP).exists()
