"""Headers that WSGI would mix up, and those that may be given once."""

import json

import pytest

from tests.edge.wire import ask, head, post
from tests.support.live import Live

pytestmark = pytest.mark.django_db(transaction=True)

REFRESH = json.dumps({"refreshToken": "mgr_x"}).encode()


def test_an_underscore_in_a_name_does_not_switch_the_brakes_off(served: Live) -> None:
    statuses = [
        ask(
            served,
            post(
                "/api/tokens/refresh",
                REFRESH,
                f"X_Forwarded_For: 203.0.113.{number}",
                "X-Forwarded-For: 198.51.100.7",
                f"X_forwarded-For: 203.0.113.{100 + number}",
            ),
        ).status
        for number in range(4)
    ]

    assert statuses == [401, 401, 429, 429]


def test_a_name_with_an_underscore_is_no_header_of_ours(served: Live) -> None:
    answer = ask(served, head("GET", "/api/plans", "x_request_id: r-1", "X-Correlation_Id: r-1"))

    assert "r-1" not in answer.headers.values()


@pytest.mark.parametrize(
    "name", ["Authorization", "Host", "X-Tenant-Id", "Idempotency-Key", "X-Forwarded-Proto"]
)
def test_what_may_be_given_once_is_refused_when_it_is_given_twice(served: Live, name: str) -> None:
    answer = ask(served, head("GET", "/api/plans", f"{name}: a", f"{name.lower()}: b"))

    assert (answer.status, answer.error) == (400, "VALIDATION_ERROR")
