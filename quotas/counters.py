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
from quotas.periods import TICK, Period, period_in, predecessor

_Refusal = type[PaymentRequired] | type[OutsideWindow]


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
        entitlement = lock(org_id)
        if entitlement is None:
            return {pair: PaymentRequired() for pair in wanted}
        at_least = instant_of(entitlement, now=now)
        openable, refused = _openable(entitlement, wanted, now=at_least)
        insert_counters(entitlement, openable, now=at_least)
    publish_open(org_id, now=now)
    return refused


def _openable(
    entitlement: Entitlement, wanted: Collection[tuple[str, datetime]], *, now: datetime
) -> tuple[list[tuple[str, Period]], dict[tuple[str, datetime], ApiError]]:
    """Return the periods of the wanted pairs that take events, and the pairs that are refused.

    Pure: whoever holds the entitlement's lock asks nothing of the database for each event.
    """
    first = rules.counted_from(entitlement, known_at=now)
    cuts = rules.cuts_of(entitlement, now)
    periods: list[Period] = []
    refusals: dict[tuple[str, Period], _Refusal | None] = {}
    refused: dict[tuple[str, datetime], ApiError] = {}
    for metric, at in wanted:
        if at < first:
            # Asked first: a period ages back may begin before the year 1.
            refused[(metric, at)] = OutsideWindow()
            continue
        period = next((known for known in periods if at in known), None)
        if period is None:
            period = period_in(cuts, at)
            periods.append(period)
        if (metric, period) not in refusals:
            refusals[(metric, period)] = _refusal(entitlement, metric, period, now=now)
        refusal = refusals[(metric, period)]
        if refusal is not None:
            refused[(metric, at)] = refusal()
    return [pair for pair, refusal in refusals.items() if refusal is None], refused


def _refusal(
    entitlement: Entitlement, metric: str, period: Period, *, now: datetime
) -> _Refusal | None:
    """Return why nothing is counted in a period, or None where it is."""
    if now < period.start or not _takes_late(entitlement, metric, period, now=now):
        return OutsideWindow
    if now >= period.end and not (
        rules.has_access(entitlement, now)
        and rules.is_sold_in(entitlement, metric, period_end=period.end, at=now)
    ):
        # An ended period is never opened with what was sold only later.
        return PaymentRequired
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


def insert_counters(
    entitlement: Entitlement, wanted: Collection[tuple[str, Period]], *, now: datetime
) -> None:
    """Insert the counters of these metrics and periods that are not there.

    The entitlement is locked. One look for all of them, and one statement for each that is
    inserted, unless a restart cut the period before it short.
    """
    if not wanted:
        return
    # The entitlement's lock makes this look-up safe; the constraints stand behind it.
    rows = UsageCounter.objects.filter(
        org_id=entitlement.org_id,
        metric__in={metric for metric, _ in wanted},
        period_start__lte=max(period.start for _, period in wanted),
        period_end__gt=min(period.start for _, period in wanted),
    )
    stored = {(row.metric, row.period_start): row for row in rows}
    cuts = rules.cuts_of(entitlement, now)
    for metric, period in sorted(wanted, key=lambda pair: (pair[0], pair[1].start)):
        if (metric, period.start) in stored:
            continue
        for row in stored.values():
            if row.metric == metric and row.period_start < period.start < row.period_end:
                row.period_end = period.start
                _end_early(entitlement, row, now=now)
        short = predecessor(cuts, period)
        before = _locked(entitlement.org_id, metric, short.start) if short else None
        counter = new_counter(entitlement, metric, period, now=now)
        counter.save(force_insert=True)
        if before is not None and carry_over(before, counter, now=now):
            derive_one(entitlement, before, now=now)
            thresholds.tell_nobody(before)
            derive_one(entitlement, counter, now=now)


def _end_early(entitlement: Entitlement, row: UsageCounter, *, now: datetime) -> None:
    """End a counter that a scheduled restart cut short, where nobody has derived it since.

    Nothing was counted in it past the restart: its `valid_until` ended there.
    """
    counter = _locked(row.org_id, row.metric, row.period_start)
    if counter is not None:
        counter.period_end = row.period_end
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


def _locked(org_id: str, metric: str, period_start: datetime) -> UsageCounter | None:
    return (
        UsageCounter.objects.select_for_update()
        .filter(org_id=org_id, metric=metric, period_start=period_start, closed_at=None)
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
        insert_counters(entitlement, [(metric, period) for metric in live], now=now)
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
