"""GET /api/me/entitlements: what an organisation may use, and what it has used."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from config.contract import clock
from quotas import corrections
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.contract.outages import no_valkey
from tests.contract.refusals import refused
from tests.contract.state import nothing_written
from tests.support.cast import Org, data, make_org, tokens_for

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/me/entitlements"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture
def on_22_november() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.mark.usefixtures("on_22_november")
def test_a_trial_is_answered_in_full(transactional_db: None) -> None:
    org = make_org(status="trialing", trial_ends_at=datetime(2026, 12, 6, 10, tzinfo=UTC))
    org.use(3)

    answer = data(org.get(PATH))

    assert answer == {
        "planCode": "starter",
        "includedUnits": 10_000,
        "used": 3,
        "remaining": 9_997,
        "periodKey": "2026-11",
        "periodStart": "2026-11-01T00:00:00Z",
        "periodEnd": "2026-12-01T00:00:00Z",
        "status": "trialing",
        "trialEndsAt": "2026-12-06T10:00:00Z",
        "scheduledChange": None,
        "metrics": {
            "api_call": {
                "includedUnits": 10_000,
                "used": 3,
                "remaining": 9_997,
                "overage": "block",
            },
            "compute_ms": {
                "includedUnits": 1_000_000,
                "used": 0,
                "remaining": 1_000_000,
                "overage": "block",
            },
        },
    }


@pytest.mark.usefixtures("on_22_november")
def test_a_billing_period_is_named_by_its_start(transactional_db: None) -> None:
    anchor = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    org = make_org(period_rule="billing_month", anchor_at=anchor)

    answer = data(org.get(PATH))

    assert answer["periodKey"] == "2026-10-31"
    assert answer["periodStart"] == "2026-10-31T12:30:00Z"
    assert answer["periodEnd"] == "2026-11-30T12:30:00Z"


def test_units_that_staff_gave_are_counted_in(transactional_db: None) -> None:
    org = make_org(included=10)
    corrections.adjust(
        org_id=org.id, metric="api_call", units=5, reason="sorry", who="test", now=clock.now()
    )
    org.use(12)

    answer = data(org.get(PATH))

    assert (answer["includedUnits"], answer["used"], answer["remaining"]) == (15, 12, 3)


def test_what_is_left_is_never_negative(transactional_db: None) -> None:
    org = make_org(plan="business", included=10)
    org.use(25)

    answer = data(org.get(PATH))

    assert (answer["used"], answer["remaining"]) == (25, 0)
    assert answer["metrics"]["api_call"]["overage"] == "allow"


def test_every_use_is_seen_at_once(org: Org) -> None:
    for used in range(1, 6):
        org.use(1)

        assert data(org.get(PATH))["used"] == used


def test_a_cancelled_organisation_may_still_read_what_it_used(org: Org) -> None:
    org.use(3)
    with transaction.atomic():
        _grant(org, status="canceled")

    answer = data(org.get(PATH))

    assert (answer["status"], answer["used"]) == ("canceled", 3)


def test_a_change_that_is_to_come_is_announced_and_then_simply_true(
    transactional_db: None,
) -> None:
    at = clock.now().replace(microsecond=0) + timedelta(days=40)
    change = ScheduledChange("starter", {"api_call": Allowance(7, "block")}, at)
    org = make_org(plan="pro", scheduled=change)
    before = data(org.get(PATH))

    clock.set_offset(timedelta(days=40, hours=1).total_seconds())
    after = data(org.get(PATH))

    assert before["planCode"] == "pro"
    assert before["scheduledChange"] == {
        "newPlanCode": "starter",
        "effectiveAt": at.replace(tzinfo=None).isoformat() + "Z",
    }
    assert (after["planCode"], after["scheduledChange"]) == ("starter", None)


def test_a_period_nobody_has_touched_is_shown_as_it_would_open(org: Org) -> None:
    org.use(3)
    clock.set_offset(timedelta(days=40).total_seconds())

    with nothing_written():
        answer = data(org.get(PATH))

    assert (answer["used"], answer["remaining"]) == (0, 10_000)
    assert answer["periodKey"] == f"{clock.now():%Y-%m}"


def test_reading_writes_nothing(org: Org) -> None:
    with nothing_written():
        org.get(PATH)


def test_at_most_two_queries_are_asked_beyond_letting_the_caller_in(
    org: Org, settings: Settings
) -> None:
    settings.CLOCK_MAY_MOVE = False
    org.get(PATH)

    with CaptureQueriesContext(connection) as queries:
        assert org.get(PATH).status_code == 200

    assert 1 <= len(queries.captured_queries) <= 2


def test_nothing_outside_is_asked(org: Org, settings: Settings) -> None:
    # Neither Stripe nor Valkey is there; a call to either would fail or be felt.
    settings.STRIPE_BASE_URL = "http://127.0.0.1:9"
    org.use(2)

    with no_valkey():
        answer = data(org.get(PATH))

    assert answer["used"] == 2


def test_where_nothing_was_ever_granted_it_is_404(org: Org) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM quotas_entitlement WHERE org_id = %s", [org.id])

    refused(org.get(PATH), 404, "NOT_FOUND")


def test_only_reading_asks_for_its_scope(org: Org) -> None:
    writer = Org(org.id, tokens_for(org.id, ("usage:write",)))

    refused(writer.get(PATH), 403, "SCOPE_MISSING")


def _grant(org: Org, *, status: str) -> None:
    now = clock.now()
    grant(
        org_id=org.id,
        plan_code="starter",
        status=status,
        allowances={"api_call": Allowance(10_000, "block")},
        because="test",
        now=now,
        anchor_at=now,
    )
