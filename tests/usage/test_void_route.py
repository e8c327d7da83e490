"""POST /api/v1/usage/void: operators and staff, never an organisation's token."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from config.contract import clock
from quotas import corrections
from tests.support.cast import Org, data, error
from tokens import operators, scopes
from tokens.operators import operator_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator(transactional_db: None) -> str:
    made = operators.create(
        name="gateway", wanted=sorted(scopes.OPERATOR), who="test", now=clock.real_now()
    )
    return operator_token(key_id=made.key_id, secret=made.secret, now=clock.real_now())[0]


def void(token: str, org: Org, request_id: str = "r1") -> Any:
    return Client().post(
        "/api/v1/usage/void",
        json.dumps({"orgId": org.id, "request_id": request_id, "reason": "reported twice"}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def test_an_operator_takes_an_event_back_once(org: Org, operator: str) -> None:
    at = clock.now().isoformat()
    org.use(3, request_id="r1", occurredAt=at)
    org.use(4, request_id="r2")

    first = void(operator, org)
    again = void(operator, org)

    assert data(first)["used"] == 4
    assert again.content == first.content
    repeat = org.use(3, request_id="r1", occurredAt=at)
    assert error(repeat)["details"] == {"reason": "voided"}
    assert data(org.check())["remaining"] == 9996


def test_no_organisations_token_may_void(org: Org) -> None:
    org.use(3, request_id="r1")

    response = void(org.tokens.access_token, org)

    assert (response.status_code, error(response)["code"]) == (403, "SCOPE_MISSING")


def test_an_unknown_event_is_404(org: Org, operator: str) -> None:
    assert void(operator, org, "nobody").status_code == 404


def test_an_event_that_a_reset_settled_is_409(org: Org, operator: str) -> None:
    org.use(3, request_id="r1")
    corrections.forgive(
        org_id=org.id, metric="api_call", reason="loop", who="test", now=clock.now()
    )

    response = void(operator, org)

    assert (response.status_code, error(response)["code"]) == (409, "EVENT_SETTLED")


def test_a_closed_period_does_not_change(org: Org, operator: str) -> None:
    org.use(3, request_id="r1")
    clock.set_offset(timedelta(days=70).total_seconds())

    response = void(operator, org)

    assert (response.status_code, error(response)["code"]) == (409, "PERIOD_CLOSED")


def test_staff_need_the_permission(org: Org) -> None:
    org.use(3, request_id="r1")
    user = get_user_model().objects.create_user(
        username="ada", password="correct horse battery", is_staff=True
    )
    client = Client()
    client.force_login(user)
    body = json.dumps({"orgId": org.id, "request_id": "r1", "reason": "twice"})
    path = "/api/v1/usage/void"

    without = client.post(path, body, content_type="application/json")
    user.user_permissions.add(Permission.objects.get(codename="add_usagevoid"))
    allowed = client.post(path, body, content_type="application/json")

    assert without.status_code == 403
    assert data(allowed)["used"] == 0
