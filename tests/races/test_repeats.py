"""A repeat of an accepted event is answered the same for ever, whatever happened since."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.http import HttpResponse

from config.contract import clock
from quotas.models import Status
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, error, make_org
from tokens import access
from tokens.models import OrgAccess
from usage.models import UsageEvent
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


def give(org: Org, *, plan: str = "pro", status: str = Status.ACTIVE, included: int = 10) -> None:
    """Grant as billing does after it heard from Stripe."""
    now = clock.now()
    with transaction.atomic():
        grant(
            org_id=org.id, plan_code=plan, status=status, because="test", now=now, anchor_at=now,
            allowances={"api_call": Allowance(included, "block")},
        )  # fmt: skip


def over_quota(org: Org) -> None:
    org.use(7)
    assert org.use().status_code == 429


def canceled(org: Org) -> None:
    give(org, status=Status.CANCELED)
    assert org.use().status_code == 402


def another_period(org: Org) -> None:
    clock.set_offset(65 * 86_400)
    assert org.use().json()["data"]["periodKey"] == f"{clock.now():%Y-%m}"


def higher_plan(org: Org) -> None:
    give(org, plan="business", included=1_000)
    assert org.use().json()["data"]["remaining"] == 996


def lower_plan_next_period(org: Org) -> None:
    give(org, plan="starter", included=1)
    clock.set_offset(35 * 86_400)
    org.use()


def metric_no_longer_included(org: Org) -> None:
    now = clock.now()
    with transaction.atomic():
        grant(
            org_id=org.id, plan_code="pro", status="active", because="test", now=now,
            anchor_at=now, allowances={"compute_ms": Allowance(5, "block")},
        )  # fmt: skip


@pytest.mark.parametrize(
    "happens",
    [
        over_quota,
        canceled,
        another_period,
        higher_plan,
        lower_plan_next_period,
        metric_no_longer_included,
    ],
)
def test_a_repeat_is_answered_with_the_first_answer_after(
    transactional_db: None, happens: Callable[[Org], None]
) -> None:
    org = make_org(included=10)
    at = clock.now().isoformat()
    first = org.use(3, request_id="r1", occurredAt=at)
    assert first.status_code == 200
    happens(org)
    events = UsageEvent.objects.count()

    again = org.use(3, request_id="r1", occurredAt=at)

    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert UsageEvent.objects.count() == events


def test_the_same_instant_written_another_way_is_the_same_event(org: Org) -> None:
    at = clock.now().replace(microsecond=0)
    first = org.use(3, request_id="r1", occurredAt=at.isoformat())

    again = org.use(
        3,
        request_id="r1",
        occurredAt=f"{at + timedelta(hours=5, minutes=30):%Y-%m-%dT%H:%M:%S}.000+05:30",
    )

    assert again.content == first.content


def suspended(org: Org) -> None:
    with transaction.atomic():
        OrgAccess.objects.filter(org_id=org.id).update(suspended_at=clock.real_now())
        access.bump(org.id)


def test_a_suspended_organisation_is_not_even_answered_a_repeat(org: Org) -> None:
    at = clock.now().isoformat()
    org.use(3, request_id="r1", occurredAt=at)
    suspended(org)

    response: HttpResponse = org.use(3, request_id="r1", occurredAt=at)

    assert response.status_code == 403
    assert error(response)["code"] == "ORG_SUSPENDED"


def test_a_voided_event_is_a_conflict_that_says_so(org: Org) -> None:
    at = clock.now().isoformat()
    org.use(3, request_id="r1", occurredAt=at)
    void_event(org_id=org.id, request_id="r1", reason="wrong", voided_by="x", now=clock.now())

    response = org.use(3, request_id="r1", occurredAt=at)

    assert response.status_code == 409
    assert error(response)["details"] == {"reason": "voided"}
