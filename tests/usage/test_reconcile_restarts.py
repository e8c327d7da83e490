"""Books agree whatever is used, voided and restarted in whatever order."""

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from quotas import corrections, counters
from quotas.models import UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, make_org
from tests.support.database import rewrite
from usage import ledger
from usage.errors import EventSettled
from usage.ledger import NewUsageEvent
from usage.reconcile import reconcile, sample
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 3, 6, 10, tzinfo=UTC)
RESTART = datetime(2026, 3, 22, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)
METRICS = {"api_call": Allowance(10_000, "block"), "compute_ms": Allowance(1_000_000, "block")}


@pytest.fixture
def org(transactional_db: None) -> Org:
    return make_org(now=BEGAN, anchor_at=BEGAN, period_rule="billing_month", included=10_000)


def restart(org: Org, at: datetime, *, now: datetime) -> None:
    with transaction.atomic():
        grant(
            org_id=org.id,
            because="test",
            now=now,
            allowances=METRICS,
            plan_code="pro",
            status="active",
            period_rule="billing_month",
            anchor_at=at,
        )


def use(
    org: Org, request_id: str, now: datetime, *, at: datetime | None = None, **event: str
) -> bool:
    new = NewUsageEvent(event.get("metric", "api_call"), 5, at or now, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[new], now=now)
    return outcome.status == "accepted"


def void(org: Org, request_id: str, *, now: datetime) -> None:
    void_event(org_id=org.id, request_id=request_id, reason="x", voided_by="test", now=now)


def drifts(org: Org, now: datetime) -> list[str]:
    whole = list(reconcile(now=now, org_ids=[org.id]))[-1]
    return [str(one) for one in [*whole.drifts, *sample(now=now, organisations=10).drifts]]


def test_use_voided_before_the_news_of_a_restart_is_no_drift(org: Org) -> None:
    use(org, "r1", RESTART + SECOND)
    void(org, "r1", now=RESTART + 2 * SECOND)

    restart(org, RESTART, now=RESTART + 5 * SECOND)

    [ended, running] = UsageCounter.objects.filter(metric="api_call").order_by("period_start")
    assert (ended.period_end, running.period_start) == (RESTART, RESTART)
    assert drifts(org, RESTART + 6 * SECOND) == []
    assert use(org, "r2", RESTART + 7 * SECOND)
    assert drifts(org, RESTART + 8 * SECOND) == []


def test_use_of_one_metric_voided_after_another_was_used_last_is_no_drift(org: Org) -> None:
    use(org, "c1", RESTART + SECOND, metric="compute_ms")
    use(org, "r1", RESTART + 3 * SECOND)
    void(org, "r1", now=RESTART + 4 * SECOND)

    restart(org, RESTART, now=RESTART + 5 * SECOND)

    assert drifts(org, RESTART + 6 * SECOND) == []


def test_use_that_counts_outside_its_period_is_still_found(org: Org) -> None:
    use(org, "r1", RESTART + SECOND)
    use(org, "r2", RESTART + SECOND)
    void(org, "r1", now=RESTART + 2 * SECOND)
    rewrite("UPDATE quotas_usagecounter SET period_end = %s", RESTART)

    found = drifts(org, RESTART + 3 * SECOND)

    assert sum("events inside the period is False" in one for one in found) == 2


@pytest.mark.parametrize("seed", range(3))
def test_books_agree_in_any_order_of_use_voids_and_restarts(org: Org, seed: int) -> None:
    chance = random.Random(seed)
    now, voidable = BEGAN, []
    for step in range(30):
        now += timedelta(seconds=chance.choice([1, 1, 1, 2, 5, 3_600, 90_000]))
        metric = chance.choice(list(METRICS))
        match chance.choice(["use", "use", "late", "void", "void", "restart", "adjust", "forgive"]):
            case "use":
                if use(org, f"r{step}", now, metric=metric):
                    voidable.append(f"r{step}")
            case "late":
                late = now - timedelta(seconds=chance.choice([1, 3, 600]))
                if use(org, f"r{step}", now, at=late, metric=metric):
                    voidable.append(f"r{step}")
            case "void" if voidable:
                with suppress(corrections.PeriodClosed, EventSettled):
                    void(org, voidable.pop(), now=now)
            case "restart":
                restart(org, now - timedelta(seconds=chance.choice([0, 1, 4, 900])), now=now)
            case "adjust":
                corrections.adjust(
                    org_id=org.id, metric=metric, units=7, reason="x", who="test", now=now
                )
            case "forgive":
                counters.open_periods(org_id=org.id, wanted=[(metric, now)], now=now)
                corrections.forgive(org_id=org.id, metric=metric, reason="x", who="t", now=now)
        assert drifts(org, now) == [], f"step {step}"
