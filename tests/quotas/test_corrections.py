"""Adjustments and resets: rows of their own, which no grant wipes."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client

from billing.statements.services import statement, verify
from config.contract import clock
from quotas import corrections
from quotas.corrections import PeriodClosed
from quotas.models import Forgiveness, UsageCounter
from quotas.rollover import close_ended, roll_over
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, data, error, make_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff(transactional_db: None) -> Client:
    user = get_user_model().objects.create_user(
        username="ada", password="correct horse battery", is_staff=True
    )
    user.user_permissions.add(Permission.objects.get(codename="reset_usagecounter"))
    client = Client()
    client.force_login(user)
    return client


def counter(org: Org) -> UsageCounter:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call")


def adjust(org: Org, units: int, **more: Any) -> UsageCounter:
    return corrections.adjust(
        org_id=org.id,
        metric="api_call",
        units=units,
        reason="sorry",
        who="test",
        now=clock.now(),
        **more,
    )


def reset(client: Client, **body: Any) -> Any:
    return client.post("/api/admin/quotas/reset", json.dumps(body), content_type="application/json")


def test_granted_units_open_the_door_at_once_and_survive_a_grant(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(10)
    assert org.use(1).status_code == 429

    adjust(org, 5)
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(20, "block")},
            because="webhook",
            now=clock.now(),
            anchor_at=clock.now(),
        )

    assert data(org.use(1))["remaining"] == 20 + 5 - 11
    assert data(org.get("/api/me/entitlements"))["includedUnits"] == 25


def test_an_adjustment_ends_by_itself(org: Org) -> None:
    adjust(org, 500, expires_at=clock.now() + timedelta(hours=1))
    assert data(org.check())["remaining"] == 10_500

    clock.set_offset(3700)

    assert data(org.check())["remaining"] == 10_000
    assert counter(org).adjusted == 0


def test_units_can_be_taken_away_but_never_below_nothing(org: Org) -> None:
    adjust(org, -20_000)

    denied = org.check()

    assert denied.status_code == 429
    assert error(denied)["details"]["includedUnits"] == 0


def test_a_forced_reset_shows_what_it_forgives_then_forgives_it_once(
    org: Org, staff: Client
) -> None:
    org.use(9_000)
    asked = {"orgIds": [org.id], "metric": "api_call", "force": True, "reason": "loop"}

    dry = data(reset(staff, **asked, dryRun=True))
    assert counter(org).used == 9_000
    done = data(reset(staff, **asked))
    again = data(reset(staff, **asked))

    assert dry == {
        "updated": 1,
        "queued": 0,
        "periodKey": f"{clock.now():%Y-%m}",
        "dryRun": True,
        "wouldForgive": [{"orgId": org.id, "metric": "api_call", "used": 9_000}],
    }
    assert done == {**done, "updated": 1, "dryRun": False}
    assert again["updated"] == 0
    assert data(org.check())["remaining"] == 10_000
    assert Forgiveness.objects.get().units == 9_000
    assert counter(org).counted == 9_000


def test_a_reset_without_force_leaves_a_counter_with_use_alone(org: Org, staff: Client) -> None:
    org.use(9_000)

    answer = data(reset(staff, orgIds=[org.id]))

    assert answer["updated"] == 0
    assert counter(org).used == 9_000


def test_a_reset_opens_what_is_missing_for_active_organisations_only(
    org: Org, staff: Client
) -> None:
    canceled = make_org(status="canceled")
    clock.set_offset(timedelta(days=35).total_seconds())

    answer = data(reset(staff))

    assert answer["updated"] == 2
    assert UsageCounter.objects.filter(org_id=org.id).count() == 4
    assert UsageCounter.objects.filter(org_id=canceled.id).count() == 2


@pytest.mark.parametrize(
    "body",
    [
        {"force": True, "orgIds": ["org_x"]},
        {"force": True, "reason": "because"},
        {"metric": "unknown"},
        {"orgIds": "org_x"},
        {"orgIds": [""]},
        {"surprise": 1},
    ],
)
def test_a_bad_reset_is_400_and_changes_nothing(staff: Client, body: dict[str, Any]) -> None:
    assert reset(staff, **body).status_code == 400


def test_a_reset_needs_staff_and_the_permission(org: Org) -> None:
    plain = get_user_model().objects.create_user(username="eve", password="x" * 20, is_staff=True)
    eve = Client()
    eve.force_login(plain)

    assert reset(Client()).status_code == 401
    assert reset(eve).status_code == 403
    assert org.post("/api/admin/quotas/reset", {}).status_code == 401


def test_a_closed_period_is_corrected_by_nobody_whatever_instant_they_come_with(org: Org) -> None:
    org.use(10)
    then = clock.now()
    clock.set_offset(timedelta(days=45).total_seconds())
    list(roll_over(now=clock.now()))
    before = UsageCounter.objects.filter(org_id=org.id).order_by("pk").values()
    held = list(before)

    for metric in ("api_call", "compute_ms"):
        with pytest.raises(PeriodClosed):
            corrections.adjust(org_id=org.id, metric=metric, units=5, reason="r", who="w", now=then)
    with pytest.raises(PeriodClosed):
        corrections.forgive(org_id=org.id, metric="api_call", reason="r", who="w", now=then)

    assert list(before.all()) == held


def test_a_period_that_was_sealed_takes_no_metric_that_nobody_had_touched(org: Org) -> None:
    then = clock.now()
    UsageCounter.objects.filter(org_id=org.id, metric="compute_ms").delete()
    key = counter(org).period_key
    clock.set_offset(timedelta(days=45).total_seconds())
    sealed = statement(org_id=org.id, period_key=key, now=clock.now())
    assert sealed["digest"]

    with pytest.raises(PeriodClosed):
        corrections.adjust(
            org_id=org.id, metric="compute_ms", units=5, reason="r", who="w", now=then
        )

    assert list(verify(org_id=org.id)) == []


def test_a_statement_waits_for_a_metric_that_may_still_be_counted(transactional_db: None) -> None:
    # Of api_call overage is allowed: late events for 72 hours, and nobody touched it yet.
    org = make_org(plan="business")
    then = clock.now()
    UsageCounter.objects.filter(org_id=org.id, metric="api_call").delete()
    key = UsageCounter.objects.get(org_id=org.id).period_key
    month_end = UsageCounter.objects.get(org_id=org.id).period_end
    clock.set_offset((month_end - then).total_seconds() + 3600)

    close_ended(org_id=org.id, now=clock.now())

    ended = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key=key)
    assert ended.closed_at is None
    assert data(org.use(1, occurredAt=then.isoformat()))["periodKey"] == key
