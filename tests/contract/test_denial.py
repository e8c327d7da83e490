"""The standard denial and the RateLimit headers, the same at every door."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import time_machine

from tests.contract.refusals import refused
from tests.support.cast import Org, data, make_org

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PERIOD_SECONDS = 30 * 86_400
LEFT_SECONDS = 10 * 86_400 + 43_200

DOORS: dict[str, Callable[..., Any]] = {"check": Org.check, "usage": Org.use}
each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())


@pytest.fixture(autouse=True)
def _noon_of_20_november() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def spent(transactional_db: None) -> Org:
    """An organisation that has used 8 of 10."""
    org = make_org(included=10, now=NOW)
    assert org.use(8).status_code == 200
    return org


@each_door
def test_past_the_quota_the_answer_is_the_standard_denial(
    door: Callable[..., Any], spent: Org
) -> None:
    response = door(spent, 3)

    assert response.status_code == 429
    body = response.json()
    ids = body.pop("meta")
    assert body == {
        "ok": False,
        "data": {"allow": False, "remaining": 0},
        "error": {
            "code": "RATE_LIMITED",
            "message": "Quota exceeded",
            "details": {
                "metric": "api_call",
                "periodKey": "2026-11",
                "includedUnits": 10,
                "used": 8,
                "resetsAt": "2026-12-01T00:00:00Z",
            },
        },
    }
    assert ids == {
        "requestId": response.headers["x-request-id"],
        "correlationId": response.headers["x-correlation-id"],
    }


@each_door
def test_a_denial_says_as_an_http_date_when_the_next_period_starts(
    door: Callable[..., Any], spent: Org
) -> None:
    response = door(spent, 3)

    assert response.headers["Retry-After"] == "Tue, 01 Dec 2026 00:00:00 GMT"
    assert parsedate_to_datetime(response.headers["Retry-After"]) == datetime.fromisoformat(
        response.json()["error"]["details"]["resetsAt"]
    )


@each_door
def test_a_denial_carries_the_rate_limit_headers(door: Callable[..., Any], spent: Org) -> None:
    response = door(spent, 3)

    assert response.headers["RateLimit"] == f'"api_call";r=2;t={LEFT_SECONDS}'
    assert response.headers["RateLimit-Policy"] == f'"api_call";q=10;w={PERIOD_SECONDS}'


@each_door
def test_a_success_carries_the_rate_limit_headers(door: Callable[..., Any], spent: Org) -> None:
    response = door(spent, 2)

    left = data(response)["remaining"]
    assert response.headers["RateLimit"] == f'"api_call";r={left};t={LEFT_SECONDS}'
    assert response.headers["RateLimit-Policy"] == f'"api_call";q=10;w={PERIOD_SECONDS}'
    assert "Retry-After" not in response.headers


def test_a_repeat_carries_the_rate_limit_headers_too(spent: Org) -> None:
    first = spent.use(1, request_id="r1", occurredAt="2026-11-20T11:00:00Z")

    again = spent.use(1, request_id="r1", occurredAt="2026-11-20T11:00:00Z")

    assert again.headers["RateLimit"] == first.headers["RateLimit"]
    assert again.headers["RateLimit-Policy"] == first.headers["RateLimit-Policy"]


def test_a_soft_denial_is_a_200_that_says_the_same(spent: Org) -> None:
    response = spent.check(3, soft=True)

    assert data(response) == {
        "allow": False,
        "remaining": 0,
        "code": "RATE_LIMITED",
        "resetsAt": "2026-12-01T00:00:00Z",
    }
    assert response.headers["RateLimit"] == f'"api_call";r=2;t={LEFT_SECONDS}'


def test_a_soft_question_that_is_allowed_is_answered_as_any_other(spent: Org) -> None:
    soft, plain = spent.check(2, soft=True), spent.check(2)

    assert soft.content == plain.content


@each_door
def test_without_a_valid_subscription_the_answer_is_402_and_names_no_time(
    door: Callable[..., Any], transactional_db: None
) -> None:
    org = make_org(status="canceled", included=0, now=NOW)

    response = door(org, 1)

    refused(response, 402, "PAYMENT_REQUIRED")
    assert response.json()["data"] == {"allow": False, "remaining": 0}
    assert "Retry-After" not in response.headers


def test_a_soft_402_is_a_200_with_its_code(transactional_db: None) -> None:
    org = make_org(status="unpaid", included=0, now=NOW)

    answer = data(org.check(1, soft=True))

    assert answer == {
        "allow": False,
        "remaining": 0,
        "code": "PAYMENT_REQUIRED",
        "resetsAt": "2026-12-01T00:00:00Z",
    }


def test_the_headers_follow_a_billing_period(transactional_db: None) -> None:
    anchor = datetime(2026, 10, 25, 6, tzinfo=UTC)
    org = make_org(included=10, now=NOW, anchor_at=anchor, period_rule="billing_month")

    response = org.check(11)

    assert response.headers["Retry-After"] == "Wed, 25 Nov 2026 06:00:00 GMT"
    assert response.headers["RateLimit"] == f'"api_call";r=10;t={5 * 86_400 - 6 * 3600}'
    assert response.headers["RateLimit-Policy"] == f'"api_call";q=10;w={31 * 86_400}'
    assert response.json()["error"]["details"]["periodKey"] == "2026-10-25"
