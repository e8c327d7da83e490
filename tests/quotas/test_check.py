"""POST /api/quota/check: what it decides. It reads and never counts."""

import pytest
from django.db import transaction

from billing import catalogue
from billing.models import Plan
from config.contract import clock
from config.contract.clients import clients
from quotas import corrections
from quotas.catalogue import define
from quotas.models import Entitlement, UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.contract.refusals import refused, refused_fields
from tests.contract.state import nothing_written
from tests.support.cast import Org, data, make_org
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_inside_is_allowed_and_says_what_is_left(org: Org) -> None:
    org.use(1)

    answer = data(org.check(1))

    assert answer == {"allow": True, "remaining": 9999, "periodKey": f"{clock.now():%Y-%m}"}


def test_a_check_writes_nothing_however_often_it_is_asked(transactional_db: None) -> None:
    org = make_org(included=10)

    with nothing_written():
        answers = [data(org.check(10)) for _ in range(5)]

    assert [answer["remaining"] for answer in answers] == [10] * 5


def test_one_unit_is_asked_for_where_no_value_is_named(transactional_db: None) -> None:
    org = make_org(included=1)
    body = {"orgId": org.id, "metric": "api_call"}

    before = org.post("/api/quota/check", body)
    org.use(1)
    after = org.post("/api/quota/check", body)

    assert (before.status_code, after.status_code) == (200, 429)


def test_the_last_unit_is_allowed_and_the_one_after_it_is_not(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(9)

    assert [org.check(1).status_code, org.check(2).status_code] == [200, 429]
    org.use(1)
    assert org.check(1).status_code == 429


def test_more_than_what_is_left_is_denied_and_less_still_allowed(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(4)

    denied, allowed = org.check(7), org.check(6)

    assert refused(denied, 429, "RATE_LIMITED")["details"]["used"] == 4
    assert data(allowed)["remaining"] == 6


def test_a_value_beyond_all_limits_is_a_denial_and_no_fault(org: Org) -> None:
    assert org.check(2**53 - 1).status_code == 429
    assert refused_fields(org.check(2**53)) == {"value"}


def test_a_check_that_starts_after_an_answer_sees_its_use(transactional_db: None) -> None:
    org = make_org(included=50)

    for used in range(1, 51):
        org.use(1)
        answer = org.check(1)

        assert answer.headers["RateLimit"].startswith(f'"api_call";r={50 - used};')
        assert answer.status_code == (200 if used < 50 else 429)


def test_a_check_sees_the_use_of_a_batch(transactional_db: None) -> None:
    org = make_org(included=10)
    events = [
        {
            "metric": "api_call",
            "value": 2,
            "occurredAt": clock.now().isoformat(),
            "request_id": f"r{n}",
        }
        for n in range(4)
    ]
    org.post("/api/v1/usage/batch", {"orgId": org.id, "events": events})

    assert data(org.check(2))["remaining"] == 2
    assert org.check(3).status_code == 429


def test_each_metric_has_a_quota_of_its_own(transactional_db: None) -> None:
    org = make_org(included=1)
    org.use(1)

    assert org.check(1).status_code == 429
    assert data(org.check(1, metric="compute_ms"))["remaining"] == 1_000_000


def test_a_metric_the_plan_does_not_include_is_denied(org: Org) -> None:
    define(["report"])

    refusal = refused(org.check(1, metric="report"), 429, "RATE_LIMITED")

    assert refusal["details"]["includedUnits"] == 0


@pytest.mark.parametrize(
    "status", ["incomplete", "incomplete_expired", "unpaid", "paused", "canceled"]
)
def test_without_a_valid_subscription_it_is_402(status: str, transactional_db: None) -> None:
    org = make_org(status=status)

    refused(org.check(1), 402, "PAYMENT_REQUIRED")


@pytest.mark.parametrize("status", ["trialing", "active", "past_due"])
def test_with_a_valid_subscription_it_is_allowed(status: str, transactional_db: None) -> None:
    org = make_org(status=status)

    assert data(org.check(1))["allow"] is True


def test_402_comes_before_429(transactional_db: None) -> None:
    org = make_org(included=0, status="unpaid")

    refused(org.check(1), 402, "PAYMENT_REQUIRED")


def test_where_nothing_was_ever_granted_it_is_402(org: Org) -> None:
    Entitlement.objects.filter(org_id=org.id).delete()
    UsageCounter.objects.filter(org_id=org.id).delete()
    clients.copy.forget(org.id)

    with nothing_written():
        refusal, soft = org.check(1), org.check(1, soft=True)

    refused(refusal, 402, "PAYMENT_REQUIRED")
    assert data(soft) == {"allow": False, "remaining": 0, "code": "PAYMENT_REQUIRED"}


def test_a_plan_that_allows_overage_is_never_spent(transactional_db: None) -> None:
    org = make_org(plan="business", included=10)
    org.use(25)

    answer = data(org.check(1_000_000))

    assert answer["allow"] is True
    assert answer["remaining"] == 0


def test_overage_helps_nobody_without_a_subscription(transactional_db: None) -> None:
    org = make_org(plan="business", status="canceled")

    refused(org.check(1), 402, "PAYMENT_REQUIRED")


def test_a_remembered_denial_does_not_outlive_a_higher_limit(transactional_db: None) -> None:
    org = make_org(included=1)
    org.use(1)
    assert [org.check(1).status_code for _ in range(3)] == [429] * 3

    with transaction.atomic():
        _grant(org, {"api_call": Allowance(5, "block")})

    assert data(org.check(4))["remaining"] == 4


def test_a_remembered_denial_is_of_its_numbers_and_not_of_its_value(
    transactional_db: None,
) -> None:
    org = make_org(included=10)
    org.use(5)
    assert org.check(6).status_code == 429

    assert org.check(5).status_code == 200


def test_a_remembered_denial_does_not_outlive_a_new_subscription(transactional_db: None) -> None:
    org = make_org(status="canceled")
    assert org.check(1).status_code == 402

    with transaction.atomic():
        _grant(org, catalogue.allowances_of(_plan("pro")))

    assert data(org.check(1))["remaining"] == 100_000


def test_a_remembered_denial_does_not_outlive_units_given_or_taken_back(
    transactional_db: None,
) -> None:
    org = make_org(included=1)
    org.use(1, request_id="r1")
    assert org.check(1).status_code == 429

    void_event(org_id=org.id, request_id="r1", reason="sorry", voided_by="test", now=clock.now())
    assert org.check(1).status_code == 200
    org.use(1)
    assert org.check(1).status_code == 429
    corrections.adjust(
        org_id=org.id, metric="api_call", units=3, reason="sorry", who="test", now=clock.now()
    )

    assert data(org.check(3))["remaining"] == 3


def test_a_lost_subscription_is_felt_at_the_next_check(org: Org) -> None:
    assert org.check(1).status_code == 200

    with transaction.atomic():
        _grant(org, {"api_call": Allowance(10_000, "block")}, status="canceled")

    refused(org.check(1), 402, "PAYMENT_REQUIRED")


def _plan(code: str) -> Plan:
    return Plan.objects.prefetch_related("metrics").get(code=code)


def _grant(org: Org, allowances: dict[str, Allowance], *, status: str = "active") -> None:
    now = clock.now()
    grant(
        org_id=org.id,
        plan_code="pro",
        status=status,
        allowances=allowances,
        because="test",
        now=now,
        anchor_at=now,
    )
