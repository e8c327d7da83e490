"""Whoever changes a counter beside recording: reads under its lock, and in one order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from config.contract.clients import clients
from quotas import corrections, counters
from quotas.models import Adjustment, UsageCounter
from quotas.rollover import close_ended, roll_over
from quotas.rules import Allowance
from quotas.services import ScheduledChange
from tests.quotas.test_restart import give
from tests.races.interleave import by_hand, in_thread, wait_until_blocked
from tests.races.ledger import copy_equals_truth, counter_of, sum_of_events
from tests.support import counter_writers as writers
from tests.support.cast import Org, make_org
from tests.support.counter_writers import Writer
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.models import UsageVoid

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
#: What the clock of another node says meanwhile.
AHEAD = NOW + timedelta(minutes=1)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def org(transactional_db: None) -> Org:
    made = make_org(now=NOW, included=20)
    ledger.record(org_id=made.id, events=[event(writers.VOIDED)], now=NOW)
    return made


def event(request_id: str, *, metric: str = "api_call", value: int = 1, at: datetime = NOW) -> Any:
    return NewUsageEvent(metric, value, at, request_id)


def use_by_hand(
    held: "psycopg.Connection[Any]", org: Org, *events: NewUsageEvent, now: datetime = NOW
) -> None:
    """Record in a transaction that stays open, by the statement the product uses."""
    held.execute(ledger._RECORD, ledger._arguments(org.id, events, now))


def lock_at_once(held: "psycopg.Connection[Any]", org: Org, metric: str) -> None:
    """Lock a counter. Raises where somebody has it."""
    held.execute(
        "SELECT 1 FROM quotas_usagecounter WHERE org_id = %s AND metric = %s FOR UPDATE NOWAIT",
        (org.id, metric),
    )


@pytest.mark.parametrize(
    "write",
    [
        writers.derive,
        writers.raise_limit,
        writers.adjust,
        writers.forgive,
        writers.void,
        writers.mend,
    ],
    ids=lambda write: write.__name__,
)
def test_what_is_counted_at_that_moment_is_in_what_a_writer_writes(org: Org, write: Writer) -> None:
    if write is writers.mend:
        writers.put_wrong(org)
    before = counter_of(org.id)
    with by_hand() as held:
        use_by_hand(held, org, event("in flight", value=2, at=AHEAD), now=AHEAD)

        writing = in_thread(partial(write, org, NOW))
        wait_until_blocked()
        held.commit()
    writing.result(5)

    after = counter_of(org.id)
    # One version for the use and one for the writer: no number says two things.
    assert after.version == before.version + 2
    assert after.counted == sum_of_events(after)
    assert after.forgiven == (3 if write is writers.forgive else 0)
    assert after.updated_at == AHEAD
    for row in UsageVoid.objects.all():
        assert (row.used_after, row.counter_version) == (after.used, after.version)
    ledger.record(org_id=org.id, events=[event("afterwards")], now=AHEAD)
    assert copy_equals_truth(clients.copy, counter_of(org.id))


@pytest.mark.parametrize(
    "write",
    [
        writers.derive,
        writers.raise_limit,
        writers.adjust,
        writers.forgive,
        writers.mend,
        writers.choose,
        lambda org, now: counters.open_periods(
            org_id=org.id, wanted=[("api_call", APRIL)], now=APRIL
        ),
        lambda org, now: close_ended(org_id=org.id, now=APRIL + timedelta(days=1)),
    ],
    ids=["derive", "raise_limit", "adjust", "forgive", "mend", "choose", "open", "close"],
)
def test_a_writer_waits_for_the_entitlement_and_has_no_counter_meanwhile(
    org: Org, write: Writer
) -> None:
    if write is writers.mend:
        writers.put_wrong(org)
    with by_hand() as held:
        held.execute("SELECT 1 FROM quotas_entitlement WHERE org_id = %s FOR UPDATE", (org.id,))

        writing = in_thread(partial(write, org, NOW))
        wait_until_blocked()

        # The entitlement first, then its counters: the other way round is a deadlock.
        lock_at_once(held, org, "api_call")
        lock_at_once(held, org, "compute_ms")
        held.rollback()
    writing.result(5)


@pytest.mark.parametrize(
    "write",
    [
        writers.derive,
        writers.raise_limit,
        writers.choose,
        lambda org, now: close_ended(org_id=org.id, now=APRIL + timedelta(days=1)),
    ],
    ids=["derive", "raise_limit", "choose", "close"],
)
def test_a_writer_locks_the_counters_in_the_order_that_recording_does(
    org: Org, write: Writer
) -> None:
    # Opened anew, so that it is not by chance that the first of them stands first.
    UsageCounter.objects.filter(org_id=org.id, metric="api_call").delete()
    counters.open_periods(org_id=org.id, wanted=[("api_call", NOW)], now=NOW)
    with by_hand() as held:
        use_by_hand(held, org, event("in flight"))

        writing = in_thread(partial(write, org, NOW))
        wait_until_blocked()

        lock_at_once(held, org, "compute_ms")
        held.commit()
    writing.result(5)


def test_a_rollover_passes_over_a_counter_that_somebody_counts_in(org: Org) -> None:
    closes = APRIL + timedelta(minutes=15)
    in_time = closes - SECOND
    counters.refresh(org_id=org.id, now=in_time)
    with by_hand() as held:
        use_by_hand(held, org, event("late", at=APRIL - SECOND), now=in_time)

        meanwhile = list(roll_over(now=closes, org_ids=[org.id]))[-1]
        held.commit()
    afterwards = list(roll_over(now=closes, org_ids=[org.id]))[-1]

    march = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key="2026-03")
    assert (meanwhile.closed, afterwards.closed) == (1, 1)  # the other metric, then this one
    assert march.closed_at == closes
    assert march.counted == sum_of_events(march) == 2


def test_what_is_counted_as_a_period_is_closed_has_a_version_of_its_own(org: Org) -> None:
    closes = APRIL + timedelta(minutes=15)
    in_time = closes - SECOND
    counters.refresh(org_id=org.id, now=in_time)
    before = counter_of(org.id)
    with by_hand() as held:
        use_by_hand(held, org, event("late", at=APRIL - SECOND), now=in_time)

        closing = in_thread(partial(close_ended, org_id=org.id, now=closes))
        wait_until_blocked()
        held.commit()
    closing.result(5)

    march = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key="2026-03")
    assert (march.closed_at, march.updated_at) == (closes, closes)
    assert march.version == before.version + 2
    assert march.counted == sum_of_events(march) == 2


@pytest.fixture
def billed(transactional_db: None) -> Org:
    """On billing months, with units of the staff's beside 20 included ones."""
    made = make_org(now=NOW, anchor_at=NOW, period_rule="billing_month", included=20)
    corrections.adjust(
        org_id=made.id, metric="api_call", units=5, reason="r", who="w", now=NOW + SECOND
    )
    return made


def test_a_restart_comes_after_the_use_that_is_being_counted_as_it_is_told(billed: Org) -> None:
    counted_at = NOW + timedelta(days=3, minutes=1)  # by a clock that is ahead
    anchor = counted_at - timedelta(seconds=30)
    with by_hand() as held:
        use_by_hand(held, billed, event("r", at=counted_at), now=counted_at)

        restarting = in_thread(
            partial(
                give,
                billed,
                {"api_call": Allowance(20, "block"), "compute_ms": Allowance(9, "block")},
                now=counted_at - SECOND,
                anchor_at=anchor,
            )
        )
        wait_until_blocked()
        held.commit()
    restarting.result(5)

    running = counter_of(billed.id)  # the next one begins in a moment
    assert counted_at < running.period_end <= counted_at + SECOND
    assert running.counted == sum_of_events(running) == 1


def cut_short(org: Org, at: datetime) -> None:
    """Schedule a change whose restart ends the running period by itself."""
    told = {"api_call": Allowance(20, "block"), "compute_ms": Allowance(9, "block")}
    give(
        org,
        told,
        now=NOW + 2 * SECOND,
        anchor_at=NOW,
        scheduled=ScheduledChange("pro", told, at, "billing_month", at),
    )


def record_late(
    held: "psycopg.Connection[Any]", org: Org, restart: datetime, value: int, *, now: datetime
) -> None:
    use_by_hand(held, org, event("late", value=value, at=restart - SECOND), now=now)


@pytest.mark.parametrize("opens", ["touch", "rollover"])
def test_units_that_a_late_use_is_spending_do_not_move_into_the_next_period(
    billed: Org, opens: str
) -> None:
    restart = NOW + timedelta(days=3)
    cut_short(billed, restart)
    ahead: Callable[[], object] = partial(
        counters.open_periods, org_id=billed.id, wanted=[("compute_ms", restart)], now=restart
    )
    ahead()  # so that the ended period takes late uses under its own limit
    counters.refresh(org_id=billed.id, now=restart)
    works: dict[str, Callable[[], object]] = {
        "touch": partial(
            counters.open_periods, org_id=billed.id, wanted=[("api_call", restart)], now=restart
        ),
        "rollover": lambda: list(roll_over(now=restart, org_ids=[billed.id])),
    }
    with by_hand() as held:
        record_late(held, billed, restart, 22, now=restart)

        opening = in_thread(works[opens])
        wait_until_blocked()
        held.commit()
    opening.result(5)

    old, new = UsageCounter.objects.filter(org_id=billed.id, metric="api_call").order_by(
        "period_start"
    )
    assert (old.counted, old.adjusted, new.adjusted) == (22, 2, 3)
    assert sum(row.units for row in Adjustment.objects.filter(org_id=billed.id)) == 5
    assert old.counted == sum_of_events(old)


def test_a_period_that_a_restart_cut_is_ended_under_the_lock_of_who_counts_in_it(
    billed: Org,
) -> None:
    restart = NOW + timedelta(days=3)
    cut_short(billed, restart)
    before = counter_of(billed.id)
    with by_hand() as held:
        # By a clock that has not reached the restart yet.
        use_by_hand(held, billed, event("r", at=restart - SECOND), now=restart - SECOND)

        opening = in_thread(
            partial(
                counters.open_periods, org_id=billed.id, wanted=[("api_call", restart)], now=restart
            )
        )
        wait_until_blocked()
        held.commit()
    opening.result(5)

    old, new = UsageCounter.objects.filter(org_id=billed.id, metric="api_call").order_by(
        "period_start"
    )
    assert old.period_end == new.period_start == restart
    assert old.counted == sum_of_events(old) == 1
    # The use; its end; what was carried out of it.
    assert old.version == before.version + 3
