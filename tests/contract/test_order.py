"""The order of checks: a request with every fault is told the first one, then the next."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from config.contract import clock
from quotas.rules import Allowance
from quotas.services import grant
from tests.contract.refusals import refused
from tests.contract.routes import client
from tests.support.cast import Org, data, make_org, tokens_for
from tokens.services import IssuedTokens
from tokens.suspension import restore, suspend

pytestmark = pytest.mark.django_db(transaction=True)

PATHS = ["/api/v1/usage", "/api/quota/check", "/api/v1/usage/batch"]


def say(path: str, tokens: IssuedTokens | None, body: Any, **headers: str) -> Any:
    """POST a body, with or without a token."""
    if tokens is not None:
        headers["Authorization"] = f"Bearer {tokens.access_token}"
    return client().post(path, body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("path", PATHS)
def test_authentication_then_scope_then_body_then_tenant(path: str, org: Org) -> None:
    powerless = tokens_for(org.id, ("billing:read",))
    other = {"x-tenant-id": "org_other"}
    wrong = {"orgId": "org_other", "extra": 1}
    now = clock.real_now()
    suspend(org_id=org.id, reason="test", who="test", now=now)

    refused(say(path, None, wrong, **other), 401, "UNAUTHENTICATED")
    refused(say(path, powerless, wrong, **other), 403, "ORG_SUSPENDED")
    restore(org_id=org.id, reason="test", who="test", now=now)
    refused(say(path, powerless, wrong, **other), 403, "SCOPE_MISSING")
    refused(say(path, org.tokens, wrong, **other), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("header", [{"x-tenant-id": "org_other"}, {}], ids=["header", "body"])
def test_the_shape_of_a_body_then_its_tenant_then_whether_it_is_a_repeat(
    header: dict[str, str], org: Org
) -> None:
    event = {
        "orgId": org.id,
        "metric": "api_call",
        "value": 1,
        "occurredAt": clock.now().isoformat(),
        "request_id": "r1",
    }
    assert say(PATHS[0], org.tokens, event).status_code == 200
    foreign = {**event, "value": 2} if header else {**event, "orgId": "org_other", "value": 2}

    unknown = say(PATHS[0], org.tokens, {**foreign, "metric": "unknown"}, **header)
    mismatch = say(PATHS[0], org.tokens, foreign, **header)
    conflict = say(PATHS[0], org.tokens, {**event, "value": 2})

    refused(unknown, 400, "VALIDATION_ERROR")
    refused(mismatch, 403, "TENANT_MISMATCH")
    refused(conflict, 409, "REQUEST_ID_CONFLICT")


def test_a_repeat_then_the_window_then_the_subscription_then_the_quota(
    transactional_db: None,
) -> None:
    org = make_org(included=1)
    at = clock.now()
    first = org.use(1, request_id="r1", occurredAt=at.isoformat())
    early = (at + timedelta(hours=1)).isoformat()
    _become(org, "canceled")

    repeat = org.use(1, request_id="r1", occurredAt=at.isoformat())
    conflict = org.use(2, request_id="r1", occurredAt=early)
    outside = org.use(2, request_id="r2", occurredAt=early)
    unpaid = org.use(2, request_id="r2")
    _become(org, "active")
    spent = org.use(2, request_id="r2")

    assert repeat.content == first.content
    refused(conflict, 409, "REQUEST_ID_CONFLICT")
    refused(outside, 400, "VALIDATION_ERROR")
    refused(unpaid, 402, "PAYMENT_REQUIRED")
    refused(spent, 429, "RATE_LIMITED")


def test_a_repeat_is_answered_the_same_for_ever(transactional_db: None) -> None:
    org = make_org(included=5)
    at = clock.now().isoformat()
    first = org.use(3, request_id="r1", occurredAt=at)
    answers = []

    org.use(2)
    answers.append(org.use(3, request_id="r1", occurredAt=at))  # nothing is left
    _become(org, "canceled")
    answers.append(org.use(3, request_id="r1", occurredAt=at))
    clock.set_offset(timedelta(days=100).total_seconds())
    answers.append(org.use(3, request_id="r1", occurredAt=at))  # in another period
    _become(org, "active")
    answers.append(org.use(3, request_id="r1", occurredAt=at))

    for answer in answers:
        assert answer.content == first.content
        assert answer.headers["Idempotent-Replayed"] == "true"
    assert data(first)["used"] == 3


def test_a_refused_request_id_may_succeed_later(transactional_db: None) -> None:
    org = make_org(included=1)
    at = clock.now().isoformat()
    refused(org.use(5, request_id="r1", occurredAt=at), 429, "RATE_LIMITED")

    _become(org, "active", included=10)

    answer = org.use(5, request_id="r1", occurredAt=at)
    assert data(answer)["used"] == 5
    assert "Idempotent-Replayed" not in answer.headers


def _become(org: Org, status: str, *, included: int = 1) -> None:
    now = clock.now()
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="starter",
            status=status,
            allowances={"api_call": Allowance(included, "block")},
            because="test",
            now=now,
            anchor_at=now,
        )
