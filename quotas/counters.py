"""Opening periods and keeping open counters true to their entitlement.

Lock order: the entitlement, then its counters by (metric, period). Nobody talks
to Valkey while holding either: publishing happens after commit.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from config.contract.errors import ApiError
from quotas import rules, snapshots, thresholds
from quotas.adjustments import adjusted_units, carry_over
from quotas.errors import OutsideWindow, PaymentRequired
from quotas.models import Entitlement, UsageCounter
from quotas.periods import TICK, Period, period_in, predecessor


def open_periods(
    *, org_id: str, wanted: Collection[tuple[str, datetime]], now: datetime
) -> dict[tuple[str, datetime], ApiError]:
    """Open the periods that contain the wanted (metric, instant) pairs.

    Its own short transaction; whoever touches a new period first comes here, and
    coming twice is harmless. Returns the pairs that cannot be counted at `now`,
    each with its refusal: PaymentRequired where nothing was ever granted,
    OutsideWindow where the period takes no events.
    """
    with transaction.atomic():
        entitlement = _lock(org_id)
        if entitlement is None:
            return {pair: PaymentRequired() for pair in wanted}
        cuts = rules.cuts_of(entitlement, now)
        first = rules.counted_from(entitlement, known_at=now)
        refused: dict[tuple[str, datetime], ApiError] = {}
        for metric, at in sorted(wanted):
            if at < first:
                # Asked first: a period ages back may begin before the year 1.
                refused[(metric, at)] = OutsideWindow()
                continue
            period = period_in(cuts, at)
            limit = rules.limit_for(entitlement, metric, period_start=period.start, at=now)
            takes_late = now < period.end + rules.late_grace(limit.overage)
            if period.start <= now and takes_late:
                insert_counter(entitlement, metric, period, now=now)
            else:
                refused[(metric, at)] = OutsideWindow()
    publish_open(org_id, now=now)
    return refused


def _lock(org_id: str) -> Entitlement | None:
    return Entitlement.objects.select_for_update().filter(org_id=org_id).first()


def insert_counter(entitlement: Entitlement, metric: str, period: Period, *, now: datetime) -> None:
    """Insert the counter of a period unless it is there. The entitlement is locked."""
    held = UsageCounter.objects.filter(
        org_id=entitlement.org_id, metric=metric, period_start=period.start
    )
    # The entitlement's lock makes this look-up safe; the constraints stand behind it.
    if held.exists():
        return
    short = predecessor(rules.cuts_of(entitlement, now), period)
    before = _locked(entitlement.org_id, metric, short) if short else None
    counter = new_counter(entitlement, metric, period, now=now)
    counter.save(force_insert=True)
    if before is not None and carry_over(before, counter, now=now):
        derive_one(entitlement, before, now=now)
        thresholds.tell_nobody(before)
        derive_one(entitlement, counter, now=now)


def new_counter(
    entitlement: Entitlement, metric: str, period: Period, *, now: datetime
) -> UsageCounter:
    """Return the counter of a period as it opens, not saved."""
    return UsageCounter(
        org_id=entitlement.org_id,
        metric=metric,
        period_key=period.key,
        period_start=period.start,
        period_end=period.end,
        **terms(entitlement, metric, period, now=now),
        created_at=now,
        updated_at=now,
    )


def terms(
    entitlement: Entitlement, metric: str, period: Period, *, now: datetime
) -> dict[str, Any]:
    """Return what a period's counter takes from the entitlement as it opens."""
    limit = rules.limit_for(entitlement, metric, period_start=period.start, at=now)
    return {
        "included": limit.included,
        "overage": limit.overage,
        "access": rules.has_access(entitlement, now),
        "valid_until": rules.valid_until(
            entitlement, period_end=period.end, overage=limit.overage, at=now
        ),
    }


def _locked(org_id: str, metric: str, period: Period) -> UsageCounter | None:
    return (
        UsageCounter.objects.select_for_update()
        .filter(org_id=org_id, metric=metric, period_start=period.start, closed_at=None)
        .first()
    )


def open_live(entitlement: Entitlement, *, now: datetime) -> None:
    """Insert what is missing of the running period, and of the one before while it takes events.

    The entitlement is locked, and says what they were counted under.
    """
    cuts = rules.cuts_of(entitlement, now)
    periods = [running := period_in(cuts, now)]
    if running.start > rules.counted_from(entitlement, known_at=now):
        periods.insert(0, period_in(cuts, running.start - TICK))
    for metric in rules.metrics_of(entitlement):
        for period in periods:
            limit = rules.limit_for(entitlement, metric, period_start=period.start, at=now)
            if now < period.end + rules.late_grace(limit.overage):
                insert_counter(entitlement, metric, period, now=now)


def used_until(org_id: str, *, now: datetime) -> datetime | None:
    """Lock the unclosed counters; return the last instant the running ones may have counted.

    None where nothing was counted in them. The entitlement is locked.
    """
    return max(
        (
            one.updated_at
            for one in _lock_unclosed(org_id)
            if one.counted and one.period_start <= now < one.period_end
        ),
        default=None,
    )


def _lock_unclosed(org_id: str) -> list[UsageCounter]:
    return list(
        UsageCounter.objects.select_for_update()
        .filter(org_id=org_id, closed_at=None)
        .order_by("metric", "period_start")
    )


def refresh(*, org_id: str, now: datetime) -> None:
    """Derive the open counters again from their entitlement, then publish them.

    For counters whose `valid_until` has passed: a trial that ended, a scheduled
    change that is due.
    """
    with transaction.atomic():
        entitlement = _lock(org_id)
        if entitlement is None:
            return
        derive(entitlement, now=now)
    publish_open(org_id, now=now)


def derive(entitlement: Entitlement, *, now: datetime) -> list[UsageCounter]:
    """Make every unclosed counter say what the entitlement says. The entitlement is locked."""
    counters = _lock_unclosed(entitlement.org_id)
    for counter in counters:
        derive_one(entitlement, counter, now=now)
    return counters


def derive_one(entitlement: Entitlement, counter: UsageCounter, *, now: datetime) -> None:
    """Make one counter say what the entitlement and its adjustments say. Both are locked."""
    if now < counter.period_end:
        _end_where_cut(entitlement, counter, now=now)
    if now < counter.period_end:
        # An ended period keeps the limit it was counted under.
        limit = rules.limit_for(
            entitlement, counter.metric, period_start=counter.period_start, at=now
        )
        counter.included, counter.overage = limit.included, limit.overage
    counter.adjusted, expires_at = adjusted_units(counter, now=now)
    counter.access = rules.has_access(entitlement, now)
    until = rules.valid_until(
        entitlement, period_end=counter.period_end, overage=counter.overage, at=now
    )
    counter.valid_until = min(until, expires_at) if expires_at else until
    counter.version += 1
    # Never back: it is what a restart takes for the last instant that was counted.
    counter.updated_at = max(counter.updated_at, now)
    counter.save(
        update_fields=[
            "period_end",
            "included",
            "overage",
            "adjusted",
            "access",
            "valid_until",
            "version",
            "updated_at",
        ]
    )


def _end_where_cut(entitlement: Entitlement, counter: UsageCounter, *, now: datetime) -> None:
    period = rules.period_of(entitlement, counter.period_start, known_at=now)
    if period.start == counter.period_start:
        counter.period_end = period.end


def publish_open(org_id: str, *, now: datetime) -> None:
    """Publish the committed counters that contain `now`."""
    epoch = snapshots.installation_epoch()
    snapshots.publish(org_id, (snapshots.of_row(row, epoch) for row in current(org_id, now=now)))


def current(org_id: str, *, now: datetime) -> QuerySet[UsageCounter]:
    """Return the counters whose period contains `now`."""
    return UsageCounter.objects.filter(
        org_id=org_id, period_start__lte=now, period_end__gt=now
    ).order_by("metric")
