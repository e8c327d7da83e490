"""POST /api/tokens/codes: who may make a code, for what, and how many."""

from typing import Any

import pytest

from billing.models import Plan
from config.contract import clock
from tests.billing.owners import new_owner
from tests.support.cast import Org, data, error, make_org
from tokens import scopes
from tokens.models import OrgAccess
from tokens.services import activate

pytestmark = pytest.mark.django_db(transaction=True)


def make_code(org: Org, **more: Any) -> Any:
    return org.post("/api/tokens/codes", {"orgId": org.id, **more})


def test_a_code_is_issued_for_a_domain_with_the_scopes_of_a_plugin(org: Org) -> None:
    response = make_code(org, domain="Shop.Example.")

    made = data(response)
    issued = activate(code=made["activationCode"], domain="shop.example", now=clock.real_now())
    assert response.headers["Cache-Control"] == "no-store"
    assert issued.family.domain == "shop.example"
    assert issued.family.scopes == ["entitlements:read", "usage:write"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"scopes": ["usage:void"]}, 400, "VALIDATION_ERROR"),
        ({"scopes": ["everything"]}, 400, "VALIDATION_ERROR"),
        ({"scopes": []}, 400, "VALIDATION_ERROR"),
        ({"domain": "not a host"}, 400, "VALIDATION_ERROR"),
        ({"domain": "https://shop.example/"}, 400, "VALIDATION_ERROR"),
    ],
)
def test_nonsense_is_refused(org: Org, body: dict[str, Any], status: int, code: str) -> None:
    response = make_code(org, **body)

    assert (response.status_code, error(response)["code"]) == (status, code)


def test_a_code_carries_no_more_than_its_maker_has(transactional_db: None) -> None:
    org = make_org(token_scopes=(scopes.BILLING_WRITE, scopes.USAGE_WRITE))

    response = make_code(org, scopes=["billing:read"])

    assert (response.status_code, error(response)["code"]) == (403, "SCOPE_MISSING")
    assert make_code(org, scopes=["usage:write"]).status_code == 200


def test_installations_and_unused_codes_together_are_limited_by_the_plan(org: Org) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(installation_limit=2)
    assert make_code(org).status_code == 200

    response = make_code(org)

    assert (response.status_code, error(response)["code"]) == (409, "INSTALLATION_LIMIT")


@pytest.mark.usefixtures("sandbox", "transactional_db")
def test_a_dearer_plan_has_room_for_more_installations_at_once() -> None:
    owner = new_owner()
    full = [make_code(owner).status_code for _ in range(5)]  # and the owner's own is there

    owner.upgrade("pro")

    assert full == [200] * 4 + [409]
    assert make_code(owner).status_code == 200
    pro = Plan.objects.get(code="pro").installation_limit
    assert OrgAccess.objects.get(org_id=owner.id).installation_limit == pro > 5
