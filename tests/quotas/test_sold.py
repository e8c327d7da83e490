"""Nothing is counted into a period in which nothing was sold."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from quotas import check, corrections, counters
from quotas.models import UsageCounter
from quotas.rollover import roll_over
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 3, 10, 9, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
APRIL_30 = MAY - timedelta(hours=1)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
BLOCK = {"api_call": Allowance(100, "block")}
ALLOW = {"api_call": Allowance(100, "allow")}
RULES = ["calendar_month", "billing_month"]


@pytest.fixture
def org() -> Org:
    return make_org(now=BEGAN, included=100)


def give(org: Org, allowances: dict[str, Allowance], *, now: datetime, **terms: Any) -> None:
    with transaction.atomic():
        grant(
            org_id=org.id,
            because="test",
            now=now,
            allowances=allowances,
            **{"plan_code": "pro", "status": "active", "anchor_at": BEGAN, **terms},
        )


def use(org: Org, *, at: datetime, now: datetime, value: int = 1, metric: str = "api_call") -> str:
    """Return what became of a use: the key of the period that counted it, or the refusal."""
    outcome = record(org, at=at, now=now, value=value, metric=metric)
    if outcome.error is not None:
        return outcome.error.code
    assert outcome.numbers is not None
    return outcome.numbers.period_key


def record(org: Org, *, at: datetime, now: datetime, value: int, metric: str) -> Recorded:
    request_id = f"{metric}/{value}/{at.isoformat()}/{now.isoformat()}"
    [outcome] = ledger.record(
        org_id=org.id, events=[NewUsageEvent(metric, value, at, request_id)], now=now
    )
    return outcome


def touch(org: Org, now: datetime) -> None:
    """Ask as a client does that was not told that there is no subscription any more."""
    with pytest.raises(Exception, match="no valid subscription"):
        check.check(org_id=org.id, metric="api_call", value=1, now=now, held=None).or_raise(now)


def keys(org: Org, metric: str = "api_call") -> Collection[str]:
    rows = UsageCounter.objects.filter(org_id=org.id, metric=metric).order_by("period_start")
    return list(rows.values_list("period_key", flat=True))


def assert_books_agree(now: datetime) -> None:
    assert list(reconcile(now=now))[-1].drifts == []


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("allowances", [BLOCK, ALLOW], ids=["block", "allow"])
def test_who_comes_back_has_no_quota_of_a_period_without_a_plan(
    org: Org, allowances: dict[str, Allowance], touched: bool
) -> None:
    give(org, allowances, now=BEGAN + DAY)
    give(org, allowances, now=BEGAN + 2 * DAY, status="canceled")
    if touched:
        touch(org, APRIL_30)

    give(org, allowances, now=MAY + MINUTE)

    assert use(org, at=APRIL_30, now=MAY + 2 * MINUTE, value=100) == "PAYMENT_REQUIRED"
    assert use(org, at=MAY, now=MAY + 3 * MINUTE, value=100) == "2026-05"
    assert_books_agree(MAY + 4 * MINUTE)


def test_nine_hundred_million_units_of_a_time_without_a_plan_are_refused(org: Org) -> None:
    give(org, ALLOW, now=BEGAN + DAY, status="canceled")

    give(org, ALLOW, now=MAY + MINUTE)

    hours_later = MAY + timedelta(hours=14)
    huge = use(org, at=APRIL_30, now=MAY + 2 * MINUTE, value=900_000_000)
    assert huge == "PAYMENT_REQUIRED"
    assert use(org, at=APRIL_30, now=hours_later, value=900_000_000) in {
        "PAYMENT_REQUIRED",
        "VALIDATION_ERROR",
    }
    assert not UsageCounter.objects.filter(org_id=org.id, counted__gt=0).exists()


def test_a_metric_that_is_new_in_a_plan_does_not_count_in_the_period_before(org: Org) -> None:
    more = {**BLOCK, "compute_ms": Allowance(500, "allow")}
    give(org, BLOCK, now=BEGAN)
    use(org, at=APRIL_30, now=APRIL_30)

    give(org, more, now=MAY + MINUTE)

    late = use(org, at=APRIL_30, now=MAY + 2 * MINUTE, metric="storage_gb", value=5)
    assert late == "PAYMENT_REQUIRED"
    give(org, {**more, "storage_gb": Allowance(500, "allow")}, now=MAY + 3 * MINUTE)
    assert use(org, at=APRIL_30, now=MAY + 4 * MINUTE, metric="storage_gb") == "PAYMENT_REQUIRED"
    assert use(org, at=MAY, now=MAY + 5 * MINUTE, metric="storage_gb") == "2026-05"


def test_a_metric_of_a_scheduled_plan_does_not_count_before_the_plan_begins(org: Org) -> None:
    coming = {**BLOCK, "storage_gb": Allowance(500, "allow")}
    give(org, BLOCK, now=BEGAN + DAY, scheduled=ScheduledChange("business", coming, MAY))

    late = use(org, at=APRIL_30, now=MAY + MINUTE, metric="storage_gb", value=5)

    assert late == "PAYMENT_REQUIRED"
    assert use(org, at=MAY, now=MAY + 2 * MINUTE, metric="storage_gb", value=5) == "2026-05"


def test_a_raised_limit_does_not_reach_the_period_before(org: Org) -> None:
    give(
        org, BLOCK, now=BEGAN + DAY,
        scheduled=ScheduledChange("business", {"api_call": Allowance(9_000, "allow")}, MAY),
    )  # fmt: skip

    assert use(org, at=APRIL_30, now=MAY + MINUTE, value=101) == "RATE_LIMITED"
    assert use(org, at=APRIL_30, now=MAY + MINUTE, value=100) == "2026-04"
    assert_books_agree(MAY + 2 * MINUTE)


def test_between_two_subscriptions_on_billing_periods_nothing_is_sold() -> None:
    org = make_org(now=BEGAN, anchor_at=BEGAN, period_rule="billing_month", included=100)
    billed = {"period_rule": "billing_month"}
    give(org, BLOCK, now=BEGAN + 5 * DAY, status="canceled", **billed)
    touch(org, BEGAN + 40 * DAY)
    back = BEGAN + 45 * DAY

    give(org, BLOCK, now=back, anchor_at=back, **billed)

    before = back - MINUTE
    assert use(org, at=before, now=back + MINUTE, value=100) == "PAYMENT_REQUIRED"
    assert use(org, at=back, now=back + MINUTE, value=100) == f"{back:%Y-%m-%d}"


def test_what_was_sold_before_a_cancellation_still_counts_there_after_the_return(org: Org) -> None:
    give(org, BLOCK, now=APRIL_30 - 5 * DAY, status="canceled")

    give(org, BLOCK, now=MAY + MINUTE)

    late = APRIL_30 - 6 * DAY
    assert use(org, at=late, now=MAY + 2 * MINUTE, value=100) == "2026-04"
    assert use(org, at=late, now=MAY + 3 * MINUTE) == "RATE_LIMITED"
    assert_books_agree(MAY + 4 * MINUTE)


@pytest.mark.parametrize("touched", [False, True])
def test_what_was_sold_until_time_alone_ended_it_counts_after_the_return(
    org: Org, touched: bool
) -> None:
    # The trial and its day of grace end on April 29; nobody used anything until then.
    trial_end = MAY - 3 * DAY
    give(org, BLOCK, now=BEGAN + DAY, status="trialing", trial_ends_at=trial_end)
    if touched:
        touch(org, APRIL_30)

    give(org, BLOCK, now=MAY + MINUTE)

    assert use(org, at=trial_end, now=MAY + 2 * MINUTE, value=100) == "2026-04"
    assert use(org, at=trial_end, now=MAY + 3 * MINUTE) == "RATE_LIMITED"


def test_a_period_after_time_alone_ended_access_takes_nothing(org: Org) -> None:
    give(org, ALLOW, now=BEGAN + DAY, status="past_due", past_due_since=BEGAN + DAY)
    touch(org, APRIL_30)

    give(org, ALLOW, now=MAY + MINUTE)

    assert use(org, at=APRIL_30, now=MAY + 2 * MINUTE) == "PAYMENT_REQUIRED"


def test_coming_and_going_within_one_period_sells_its_quota_once(org: Org) -> None:
    use(org, at=BEGAN, now=BEGAN, value=60)
    for hours in range(1, 9, 2):
        give(org, BLOCK, now=BEGAN + hours * 60 * MINUTE, status="canceled")
        give(org, BLOCK, now=BEGAN + (hours + 1) * 60 * MINUTE)

    now = BEGAN + DAY
    assert use(org, at=now, now=now, value=41) == "RATE_LIMITED"
    assert use(org, at=now, now=now, value=40) == "2026-03"


def test_overage_used_before_a_cancellation_stays_overage_after_a_return_that_blocks(
    org: Org,
) -> None:
    give(org, ALLOW, now=BEGAN + MINUTE)
    use(org, at=BEGAN + DAY, now=BEGAN + DAY, value=150)
    give(org, ALLOW, now=BEGAN + 2 * DAY, status="canceled")

    give(org, {"api_call": Allowance(10, "block")}, now=BEGAN + 3 * DAY)

    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")
    assert (counter.included, counter.overage, counter.used) == (100, "allow", 150)
    april = datetime(2026, 4, 2, tzinfo=UTC)
    assert use(org, at=april, now=april, value=11) == "RATE_LIMITED"
    assert_books_agree(april)


def test_a_first_subscription_sells_nothing_of_the_period_before() -> None:
    org = make_org(now=MAY, included=100)

    assert use(org, at=APRIL_30, now=MAY + MINUTE) in {"PAYMENT_REQUIRED", "VALIDATION_ERROR"}


def test_an_hourly_rollover_opens_nothing_of_a_time_without_a_plan(org: Org) -> None:
    give(org, BLOCK, now=BEGAN + DAY, status="canceled")
    list(roll_over(now=APRIL_30))
    give(org, BLOCK, now=MAY + MINUTE)
    list(roll_over(now=MAY + 2 * MINUTE))

    assert "2026-04" not in keys(org)


def test_a_batch_decides_each_event_by_its_own_period(org: Org) -> None:
    give(org, BLOCK, now=BEGAN + DAY, status="canceled")
    give(org, BLOCK, now=MAY + MINUTE)

    late, now_, older = ledger.record(
        org_id=org.id,
        events=[
            NewUsageEvent("api_call", 1, APRIL_30, "late"),
            NewUsageEvent("api_call", 1, MAY, "now"),
            NewUsageEvent("api_call", 1, APRIL_30 - 40 * DAY, "older"),
        ],
        now=MAY + 2 * MINUTE,
    )

    assert late.error is not None
    assert late.error.code == "PAYMENT_REQUIRED"
    assert now_.status == "accepted"
    assert older.error is not None
    assert older.error.code == "VALIDATION_ERROR"


def test_units_granted_by_staff_without_a_plan_open_nothing_for_late_events(org: Org) -> None:
    give(org, BLOCK, now=BEGAN + DAY, status="canceled")
    corrections.adjust(
        org_id=org.id, metric="api_call", units=50, reason="r", who="w", now=APRIL_30
    )

    give(org, BLOCK, now=MAY + MINUTE)

    assert use(org, at=APRIL_30, now=MAY + 2 * MINUTE) == "PAYMENT_REQUIRED"


def test_what_a_refused_late_event_left_behind_is_nothing(org: Org) -> None:
    give(org, BLOCK, now=BEGAN + DAY, status="canceled")
    give(org, BLOCK, now=MAY + MINUTE)
    before = keys(org)

    use(org, at=APRIL_30, now=MAY + 2 * MINUTE)

    assert keys(org) == before
    refused = counters.open_periods(
        org_id=org.id, wanted=[("api_call", APRIL_30)], now=MAY + 2 * MINUTE
    )
    assert [error.status for error in refused.values()] == [402]
