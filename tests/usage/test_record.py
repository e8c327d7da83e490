"""POST /api/v1/usage: counted once, or told no."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from config.contract import clock
from quotas.models import UsageCounter
from tests.support.cast import Org, data, error, make_org
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)


def used(org: Org) -> int:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call").used


def test_use_is_counted_and_answered_with_what_is_left(org: Org) -> None:
    answer = data(org.use(3))

    assert answer == {"periodKey": f"{clock.now():%Y-%m}", "used": 3, "remaining": 9997}


def test_repeated_request_id_is_counted_once_and_answered_with_the_same_bytes(org: Org) -> None:
    at = clock.now().isoformat()
    first = org.use(3, request_id="r1", occurredAt=at)
    org.use(5)

    second = org.use(3, request_id="r1", occurredAt=at)

    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert used(org) == 8


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": 4}, "value"),
        ({"metric": "compute_ms"}, "metric"),
        ({"occurredAt": "2026-01-01T00:00:00Z"}, "occurredAt"),
    ],
)
def test_request_id_with_other_content_is_a_conflict_naming_the_field(
    org: Org, change: dict[str, Any], field: str
) -> None:
    body: dict[str, Any] = {"value": 3, "request_id": "r1", "occurredAt": clock.now().isoformat()}
    org.use(**body)

    response = org.use(**{**body, **change})

    assert response.status_code == 409
    assert error(response)["code"] == "REQUEST_ID_CONFLICT"
    assert error(response)["details"] == {"field": field}
    assert used(org) == 3


def test_past_the_included_units_the_standard_denial_and_nothing_written(
    transactional_db: None,
) -> None:
    org = make_org(included=10)
    org.use(8)

    response = org.use(3, request_id="r9")

    assert response.status_code == 429
    assert response.json()["data"] == {"allow": False, "remaining": 0}
    denial = error(response)
    assert (denial["code"], denial["message"]) == ("RATE_LIMITED", "Quota exceeded")
    assert denial["details"]["used"] == 8
    assert denial["details"]["includedUnits"] == 10
    assert response.headers["Retry-After"].endswith("GMT")
    assert used(org) == 8
    assert data(org.use(2, request_id="r9"))["remaining"] == 0


def test_request_id_taken_in_one_organisation_is_free_in_another(org: Org, stranger: Org) -> None:
    assert data(org.use(1, request_id="same"))["used"] == 1
    assert data(stranger.use(2, request_id="same"))["used"] == 2


def test_no_subscription_is_402_and_writes_nothing(transactional_db: None) -> None:
    org = make_org(status="canceled")

    response = org.use()

    assert response.status_code == 402
    assert error(response)["code"] == "PAYMENT_REQUIRED"
    assert response.json()["data"] == {"allow": False, "remaining": 0}
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("by", [timedelta(minutes=6), -timedelta(days=70)])
def test_instants_outside_the_window_are_refused(org: Org, by: timedelta) -> None:
    response = org.use(occurredAt=(clock.now() + by).isoformat())

    assert response.status_code == 400
    assert "occurredAt" in error(response)["details"]["fields"]
    assert not UsageEvent.objects.exists()


def test_the_ledger_refuses_to_be_changed_even_by_its_owner(org: Org) -> None:
    org.use(1, request_id="r1")

    with connection.cursor() as cursor, pytest.raises(Exception, match="permission denied"):
        cursor.execute("UPDATE usage_usageevent SET value = 2")
