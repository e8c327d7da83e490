"""Opening periods and keeping open counters true to their entitlement.

Lock order: the entitlement, then its counters by (metric, period). Nobody talks
to Valkey while holding either: publishing happens after commit.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, QuerySet

from config.contract.errors import ApiError
from quotas import rules, snapshots, thresholds
from quotas.adjustments import adjusted_units, carry_over
from quotas.errors import OutsideWindow, PaymentRequired
from quotas.models import Entitlement, UsageCounter
from quotas.periods import TICK, Period, predecessor


def open_periods(
    *, org_id: str, wanted: Collection[tuple[str, datetime]], now: datetime
) -> dict[tuple[str, datetime], ApiError]:
    """Open the periods that contain the wanted (metric, instant) pairs.

    Its own short transaction; whoever touches a new period first comes here, and
    coming twice is harmless. Returns the pairs that cannot be counted at `now`,
    each with its refusal: PaymentRequired where nothing was ever granted,
    OutsideWindow where the period takes no events.
    """
    refused: dict[tuple[str, datetime], ApiError] = {}
    with transaction.atomic():
        entitlement = lock(org_id)
        if entitlement is None:
            return {pair: PaymentRequired() for pair in wanted}
        at_least = instant_of(entitlement, now=now)
        for metric, at in sorted(wanted):
            refusal = _open(entitlement, metric, at, now=at_least)
            if refusal is not None:
                refused[(metric, at)] = refusal
    publish_open(org_id, now=now)
    return refused


def _open(entitlement: Entitlement, metric: str, at: datetime, *, now: datetime) -> ApiError | None:
    """Insert the counter of the period around `at`, or return why nothing is counted there."""
    if at < rules.counted_from(entitlement, known_at=now):
        # Asked first: a period ages back may begin before the year 1.
        return OutsideWindow()
    period = rules.period_of(entitlement, at, known_at=now)
    if now < period.start or not _takes_late(entitlement, metric, period, now=now):
        return OutsideWindow()
    if now >= period.end and not (
        rules.has_access(entitlement, now)
        and rules.is_sold_in(entitlement, metric, period_end=period.end, at=now)
    ):
        # An ended period is never opened with what was sold only later.
        return PaymentRequired()
    insert_counter(entitlement, metric, period, now=now)
    return None


def _takes_late(entitlement: Entitlement, metric: str, period: Period, *, now: datetime) -> bool:
    limit = rules.limit_for(
        entitlement, metric, period_start=period.start, period_end=period.end, at=now
    )
    return now < period.end + rules.late_grace(limit.overage)


def lock(org_id: str) -> Entitlement | None:
    """Lock and return an organisation's entitlement; None where nothing was ever granted."""
    return Entitlement.objects.select_for_update().filter(org_id=org_id).first()


def instant_of(entitlement: Entitlement, *, now: datetime) -> datetime:
    """Return `now`, or the latest instant the organisation is known to have reached.

    The clocks of two nodes differ. What one of them has opened, cut or closed at its
    instant must not be decided again by the other as of an earlier one: periods would
    overlap, and closed ones take changes. The entitlement is locked.
    """
    latest = UsageCounter.objects.filter(org_id=entitlement.org_id).aggregate(at=Max("updated_at"))[
        "at"
    ]
    return max(now, entitlement.updated_at, latest or now)


def insert_counter(entitlement: Entitlement, metric: str, period: Period, *, now: datetime) -> None:
    """Insert the counter of a period unless it is there. The entitlement is locked."""
    held = UsageCounter.objects.filter(
        org_id=entitlement.org_id, metric=metric, period_start=period.start
    )
    # The entitlement's lock makes this look-up safe; the constraints stand behind it.
    if held.exists():
        return
    _end_what_runs_into(entitlement, metric, period, now=now)
    short = predecessor(rules.cuts_of(entitlement, now), period)
    before = _locked(entitlement.org_id, metric, short) if short else None
    counter = new_counter(entitlement, metric, period, now=now)
    counter.save(force_insert=True)
    if before is not None and carry_over(before, counter, now=now):
        derive_one(entitlement, before, now=now)
        thresholds.tell_nobody(before)
        derive_one(entitlement, counter, now=now)


def _end_what_runs_into(
    entitlement: Entitlement, metric: str, period: Period, *, now: datetime
) -> None:
    """End the counter that a scheduled restart cut short, where nobody has derived it since.

    Nothing was counted in it past the restart: its `valid_until` ended there.
    """
    overlapping = UsageCounter.objects.select_for_update().filter(
        org_id=entitlement.org_id,
        metric=metric,
        closed_at=None,
        period_start__lt=period.start,
        period_end__gt=period.start,
    )
    for counter in overlapping:
        counter.period_end = period.start
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
    limit = rules.limit_for(
        entitlement, metric, period_start=period.start, period_end=period.end, at=now
    )
    last_access = rules.last_access(entitlement, now)
    return {
        "included": limit.included,
        "overage": limit.overage,
        "access": rules.has_access(entitlement, now),
        "sold": last_access is not None and last_access >= period.start,
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
    """Insert what is missing of every period that had access and takes events at `now`.

    The entitlement is locked, and says what they were counted under. What is not there
    after this was not sold.
    """
    last_access = rules.last_access(entitlement, now)
    if last_access is None:
        return
    first = rules.counted_from(entitlement, known_at=now)
    period = rules.period_of(entitlement, max(first, last_access), known_at=now)
    while True:
        live = [
            metric
            for metric in rules.metrics_of(entitlement)
            if _is_live(entitlement, metric, period, now=now)
        ]
        for metric in live:
            insert_counter(entitlement, metric, period, now=now)
        if not live or period.start <= first:
            return
        period = rules.period_of(entitlement, period.start - TICK, known_at=now)


def _is_live(entitlement: Entitlement, metric: str, period: Period, *, now: datetime) -> bool:
    if now < period.end:
        return True
    sold = rules.is_sold_in(entitlement, metric, period_end=period.end, at=now)
    return sold and _takes_late(entitlement, metric, period, now=now)


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
        entitlement = lock(org_id)
        if entitlement is None:
            return
        derive(entitlement, now=instant_of(entitlement, now=now))
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
            entitlement,
            counter.metric,
            period_start=counter.period_start,
            period_end=counter.period_end,
            at=now,
        )
        counter.included, counter.overage = limit.included, limit.overage
        counter.sold = counter.sold or rules.has_access(entitlement, now)
    counter.adjusted, expires_at = adjusted_units(counter, now=now)
    counter.access = counter.sold and rules.has_access(entitlement, now)
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
            "sold",
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
