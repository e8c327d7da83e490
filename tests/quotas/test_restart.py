"""Periods cut at the billing anchor, and what a restart of the anchor does to the counters."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from config.contract.clients import clients
from quotas import corrections, counters, snapshots
from quotas.crossings import ThresholdCrossed
from quotas.models import Adjustment, UsageCounter
from quotas.queries import current_entitlement
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 3, 6, 10, tzinfo=UTC)
RESTART = datetime(2026, 3, 22, 15, tzinfo=UTC)
SECOND = timedelta(seconds=1)
STARTER = {"api_call": Allowance(100, "block"), "compute_ms": Allowance(1_000_000, "block")}
PRO = {"api_call": Allowance(5_000, "block"), "compute_ms": Allowance(9_000, "block")}


@pytest.fixture
def org() -> Org:
    return make_org(now=BEGAN, anchor_at=BEGAN, period_rule="billing_month", included=100)


def give(org: Org, allowances: dict[str, Allowance], *, now: datetime, **told: Any) -> None:
    with transaction.atomic():
        grant(
            org_id=org.id,
            because="test",
            now=now,
            allowances=allowances,
            **{"plan_code": "pro", "status": "active", "period_rule": "billing_month", **told},
        )


def use(org: Org, request_id: str, now: datetime, *, value: int = 1, **event: Any) -> Recorded:
    new = NewUsageEvent(**{"metric": "api_call", "occurred_at": now, **event}, value=value,
                        request_id=request_id)  # fmt: skip
    [outcome] = ledger.record(org_id=org.id, events=[new], now=now)
    return outcome


def periods(org: Org, metric: str = "api_call") -> list[tuple[datetime, datetime, int, int]]:
    rows = UsageCounter.objects.filter(org_id=org.id, metric=metric).order_by("period_start")
    return [(row.period_start, row.period_end, row.included, row.used) for row in rows]


def assert_books_agree(org: Org, now: datetime) -> None:
    assert list(reconcile(now=now, org_ids=[org.id]))[-1].drifts == []


def test_a_billing_period_runs_from_anchor_to_anchor(org: Org) -> None:
    use(org, "r1", BEGAN + SECOND, value=100)

    denied = use(org, "r2", datetime(2026, 4, 6, 9, 59, 59, tzinfo=UTC))
    allowed = use(org, "r3", datetime(2026, 4, 6, 10, tzinfo=UTC))

    assert denied.error is not None
    assert denied.error.code == "RATE_LIMITED"
    assert allowed.numbers is not None
    assert (allowed.numbers.period_key, allowed.numbers.remaining) == ("2026-04-06", 99)


def test_a_restart_ends_the_period_and_the_next_has_its_whole_quota(org: Org) -> None:
    use(org, "r1", RESTART - timedelta(days=1), value=100)

    give(org, PRO, now=RESTART + SECOND, anchor_at=RESTART)

    april = datetime(2026, 4, 22, 15, tzinfo=UTC)
    assert periods(org) == [(BEGAN, RESTART, 100, 100), (RESTART, april, 5_000, 0)]
    assert periods(org, "compute_ms")[1] == (RESTART, april, 9_000, 0)
    assert use(org, "r2", RESTART + 2 * SECOND).numbers.remaining == 4_999  # type: ignore[union-attr]
    assert_books_agree(org, RESTART + 3 * SECOND)


def test_use_between_the_restart_and_its_news_stays_where_it_was_counted(org: Org) -> None:
    between = use(org, "r1", RESTART + SECOND, value=7)

    give(org, PRO, now=RESTART + 5 * SECOND, anchor_at=RESTART)

    [old, new] = periods(org)
    assert old == (BEGAN, RESTART + SECOND + timedelta(microseconds=1), 100, 7)
    assert new[0] == old[1]
    again = use(org, "r1", RESTART + SECOND, value=7)
    assert again.status == "duplicate"
    assert again.numbers is not None
    assert between.numbers is not None
    assert again.numbers.period_key == between.numbers.period_key == "2026-03-06"
    assert_books_agree(org, RESTART + 6 * SECOND)


def test_the_same_restart_told_again_restarts_nothing(org: Org) -> None:
    use(org, "r1", BEGAN + SECOND)
    give(org, PRO, now=RESTART, anchor_at=RESTART)
    use(org, "r2", RESTART + SECOND, value=3)
    before = periods(org)

    give(org, PRO, now=RESTART + 2 * SECOND, anchor_at=RESTART)
    give(org, PRO, now=RESTART + 3 * SECOND, anchor_at=RESTART, plan_code="other")

    assert periods(org) == before


def test_an_anchor_moved_by_whole_periods_restarts_nothing(org: Org) -> None:
    use(org, "r1", BEGAN + SECOND)

    give(org, STARTER, now=RESTART, anchor_at=datetime(2026, 2, 6, 10, tzinfo=UTC))

    assert [start for start, *_ in periods(org)] == [BEGAN]


def test_late_events_of_the_ended_period_count_there_under_its_limit(org: Org) -> None:
    use(org, "r1", RESTART - timedelta(hours=1), value=99)
    give(org, PRO, now=RESTART, anchor_at=RESTART)
    late = RESTART - timedelta(minutes=1)

    fits = use(org, "r2", RESTART + timedelta(minutes=14), occurred_at=late)
    full = use(org, "r3", RESTART + timedelta(minutes=14), occurred_at=late)
    over = use(org, "r4", RESTART + timedelta(minutes=15), occurred_at=late)

    assert fits.numbers is not None
    assert (fits.numbers.period_key, fits.numbers.remaining) == ("2026-03-06", 0)
    assert full.error is not None
    assert full.error.code == "RATE_LIMITED"
    assert over.error is not None
    assert over.error.status == 400
    assert_books_agree(org, RESTART + timedelta(minutes=16))


def test_a_late_event_of_a_metric_nobody_touched_opens_the_ended_period(org: Org) -> None:
    # Opened under the old terms before the new ones are written: nobody used it yet.
    give(org, PRO, now=RESTART, anchor_at=RESTART)

    late = use(org, "r1", RESTART + SECOND, occurred_at=RESTART - SECOND)

    assert late.numbers is not None
    assert (late.numbers.period_key, late.numbers.remaining) == ("2026-03-06", 99)


def test_a_grant_right_after_the_turn_leaves_the_former_period_its_limit(org: Org) -> None:
    turn = datetime(2026, 4, 6, 10, tzinfo=UTC)
    give(org, PRO, now=turn + timedelta(minutes=5), anchor_at=BEGAN)

    late = use(org, "r1", turn + timedelta(minutes=6), occurred_at=turn - SECOND)

    assert late.numbers is not None
    assert (late.numbers.period_key, late.numbers.remaining) == ("2026-03-06", 99)


def test_a_restart_reaches_the_copy(org: Org) -> None:
    use(org, "r1", RESTART - SECOND, value=100)

    give(org, PRO, now=RESTART, anchor_at=RESTART)
    # After a commit the counters of the clock's now are published: here, of then.
    counters.publish_open(org.id, now=RESTART)

    copied = snapshots.from_copy(clients.copy.read(org.id), "api_call")
    assert copied is not None
    assert (copied.period.start, copied.used, copied.limit) == (RESTART, 0, 5_000)


def test_a_lower_limit_that_comes_with_a_restart_holds_in_the_new_period(org: Org) -> None:
    less = {metric: Allowance(10, "block") for metric in STARTER}
    use(org, "r1", RESTART - SECOND, value=50)

    give(org, less, now=RESTART + SECOND, anchor_at=RESTART)

    assert [included for _, _, included, _ in periods(org)] == [100, 10]


def test_a_lower_limit_alone_waits_for_the_next_billing_period(org: Org) -> None:
    less = {metric: Allowance(10, "block") for metric in STARTER}
    use(org, "r1", BEGAN + SECOND)

    give(org, less, now=RESTART, anchor_at=BEGAN)
    use(org, "r2", datetime(2026, 4, 6, 10, tzinfo=UTC))

    assert [included for _, _, included, _ in periods(org)] == [100, 10]


def test_who_subscribes_again_begins_a_period_of_the_new_subscription(org: Org) -> None:
    use(org, "r1", BEGAN + SECOND, value=100)
    give(org, STARTER, now=RESTART - timedelta(days=3), anchor_at=BEGAN, status="canceled")
    assert use(org, "r2", RESTART - SECOND).error.code == "PAYMENT_REQUIRED"  # type: ignore[union-attr]

    give(org, STARTER, now=RESTART, anchor_at=RESTART)

    assert use(org, "r3", RESTART).numbers.remaining == 99  # type: ignore[union-attr]
    assert_books_agree(org, RESTART + SECOND)


# --- What staff granted ------------------------------------------------------------


def adjust(org: Org, units: int, now: datetime, **more: Any) -> None:
    corrections.adjust(
        org_id=org.id, metric="api_call", units=units, reason="x", who="ann", now=now, **more
    )


def adjusted(org: Org) -> list[int]:
    rows = UsageCounter.objects.filter(org_id=org.id, metric="api_call").order_by("period_start")
    return [row.adjusted for row in rows]


@pytest.mark.parametrize(
    ("used", "old", "new"),
    [(0, 0, 50), (100, 0, 50), (120, 20, 30), (150, 50, 0)],
)
def test_what_is_left_of_granted_units_moves_into_the_period_that_restarts(
    org: Org, used: int, old: int, new: int
) -> None:
    adjust(org, 50, BEGAN + SECOND)
    if used:
        use(org, "r1", RESTART - SECOND, value=used)

    give(org, PRO, now=RESTART, anchor_at=RESTART)

    assert adjusted(org) == [old, new]
    assert sum(row.units for row in Adjustment.objects.all()) == 50
    assert {row.made_by for row in Adjustment.objects.all()} == {"ann"}
    assert_books_agree(org, RESTART + SECOND)


def test_units_that_move_tell_nobody_of_a_threshold_in_the_period_they_leave(org: Org) -> None:
    adjust(org, 100, BEGAN + SECOND)
    use(org, "r1", RESTART - SECOND, value=90)

    give(org, PRO, now=RESTART, anchor_at=RESTART)

    # 90 of 200 crossed nothing; of the 100 that are left it would be 80 percent.
    assert list(ThresholdCrossed.objects.filter(told_at=None)) == []
    assert_books_agree(org, RESTART + SECOND)


def test_moved_units_expire_when_they_would_have(org: Org) -> None:
    expires = RESTART + timedelta(days=2)
    adjust(org, 50, BEGAN + SECOND, expires_at=expires)

    give(org, PRO, now=RESTART, anchor_at=RESTART)

    assert use(org, "r1", expires - SECOND).numbers.limit == 5_050  # type: ignore[union-attr]
    assert use(org, "r2", expires).numbers.limit == 5_000  # type: ignore[union-attr]


def test_nothing_moves_out_of_a_period_that_is_closed(org: Org) -> None:
    adjust(org, 50, BEGAN + SECOND)
    give(
        org,
        STARTER,
        now=BEGAN + 2 * SECOND,
        anchor_at=BEGAN,
        scheduled=ScheduledChange("pro", PRO, RESTART, "billing_month", RESTART),
    )
    # As where the job closed it while somebody else had the organisation: it opened nothing.
    ended = UsageCounter.objects.filter(org_id=org.id, metric="api_call")
    ended.update(closed_at=RESTART + timedelta(hours=1), period_end=RESTART)
    before = list(ended.values())

    counters.open_periods(
        org_id=org.id,
        wanted=[("api_call", RESTART + timedelta(hours=2))],
        now=RESTART + timedelta(hours=2),
    )

    assert list(ended.filter(period_start__lt=RESTART).values()) == before
    assert adjusted(org) == [50, 0]


def test_granted_units_end_with_a_period_that_ends_by_itself(org: Org) -> None:
    adjust(org, 50, BEGAN + SECOND)

    use(org, "r1", datetime(2026, 4, 6, 10, tzinfo=UTC))

    assert adjusted(org) == [50, 0]


# --- What comes by itself ----------------------------------------------------------


def test_a_scheduled_change_of_interval_restarts_the_period_by_itself(org: Org) -> None:
    use(org, "r1", BEGAN + SECOND, value=100)
    yearly = ScheduledChange("yearly", PRO, RESTART, "billing_year", RESTART)
    give(org, STARTER, now=BEGAN + 2 * SECOND, anchor_at=BEGAN, scheduled=yearly)

    before = use(org, "r2", RESTART - SECOND)
    after = use(org, "r3", RESTART + SECOND)

    assert before.error is not None
    assert after.numbers is not None
    assert (after.numbers.period_key, after.numbers.remaining) == ("2026-03-22", 4_999)
    assert after.numbers.period.end == datetime(2027, 3, 22, 15, tzinfo=UTC)
    shown = current_entitlement(org_id=org.id, now=RESTART + 2 * SECOND)
    assert shown is not None
    assert (shown.period.key, shown.headline.used) == ("2026-03-22", 1)
    assert_books_agree(org, RESTART + 2 * SECOND)


def test_what_was_scheduled_is_confirmed_without_another_restart(org: Org) -> None:
    yearly = ScheduledChange("yearly", PRO, RESTART, "billing_year", RESTART)
    give(org, STARTER, now=BEGAN + SECOND, anchor_at=BEGAN, scheduled=yearly)
    use(org, "r1", RESTART + SECOND, value=5)

    give(org, PRO, now=RESTART + 2 * SECOND, plan_code="yearly", period_rule="billing_year",
         anchor_at=RESTART)  # fmt: skip

    assert [(start, used) for start, _, _, used in periods(org)] == [(BEGAN, 0), (RESTART, 5)]


def test_where_the_schedule_was_undone_the_periods_go_on_as_stripe_says(org: Org) -> None:
    yearly = ScheduledChange("yearly", PRO, RESTART, "billing_year", RESTART)
    give(org, STARTER, now=BEGAN + SECOND, anchor_at=BEGAN, scheduled=yearly)
    use(org, "r1", RESTART + SECOND, value=5)

    give(org, STARTER, now=RESTART + timedelta(hours=1), anchor_at=BEGAN)

    # The period that was opened provisionally holds what it counted, to the next boundary.
    [_, provisional] = periods(org)
    assert (provisional[0], provisional[3]) == (RESTART, 5)
    following = use(org, "r2", provisional[1])
    assert following.numbers is not None
    assert following.numbers.limit == 100
    assert_books_agree(org, provisional[1] + SECOND)
