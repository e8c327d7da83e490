"""Opening periods and keeping open counters true to their entitlement.

Lock order: the entitlement, then its counters by (metric, period). Nobody talks
to Valkey while holding either: publishing happens after commit.
"""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models import Min, Q, QuerySet, Sum

from config.contract.errors import ApiError
from config.contract.models import Installation
from quotas import rules, snapshots
from quotas.errors import OutsideWindow, PaymentRequired
from quotas.models import Adjustment, Entitlement, UsageCounter
from quotas.periods import Period, period_at


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
        rule, anchor = entitlement.period_rule, entitlement.anchor_at
        first = period_at(rule, anchor, entitlement.started_at)
        refused: dict[tuple[str, datetime], ApiError] = {}
        for metric, at in sorted(wanted):
            if at < first.start:
                # Asked first: a period ages back may begin before the year 1.
                refused[(metric, at)] = OutsideWindow()
                continue
            period = period_at(rule, anchor, at)
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
    limit = rules.limit_for(entitlement, metric, period_start=period.start, at=now)
    UsageCounter.objects.create(
        org_id=entitlement.org_id,
        metric=metric,
        period_key=period.key,
        period_start=period.start,
        period_end=period.end,
        included=limit.included,
        overage=limit.overage,
        access=rules.has_access(entitlement, now),
        valid_until=rules.valid_until(
            entitlement, period_end=period.end, overage=limit.overage, at=now
        ),
        created_at=now,
        updated_at=now,
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
    counters = list(
        UsageCounter.objects.select_for_update()
        .filter(org_id=entitlement.org_id, closed_at=None)
        .order_by("metric", "period_start")
    )
    for counter in counters:
        derive_one(entitlement, counter, now=now)
    return counters


def derive_one(entitlement: Entitlement, counter: UsageCounter, *, now: datetime) -> None:
    """Make one counter say what the entitlement and its adjustments say. Both are locked."""
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
    counter.updated_at = now
    counter.save(
        update_fields=[
            "included",
            "overage",
            "adjusted",
            "access",
            "valid_until",
            "version",
            "updated_at",
        ]
    )


def adjusted_units(counter: UsageCounter, *, now: datetime) -> tuple[int, datetime | None]:
    """Return the sum of a counter's adjustments in force, and when the next of them expires."""
    in_force = Adjustment.objects.filter(
        org_id=counter.org_id, metric=counter.metric, period_start=counter.period_start
    ).filter(Q(expires_at=None) | Q(expires_at__gt=now))
    found = in_force.aggregate(total=Sum("units"), nearest=Min("expires_at"))
    return found["total"] or 0, found["nearest"]


def publish_open(org_id: str, *, now: datetime) -> None:
    """Publish the committed counters that contain `now`."""
    epoch = installation_epoch()
    snapshots.publish(org_id, (snapshots.of_row(row, epoch) for row in current(org_id, now=now)))


def current(org_id: str, *, now: datetime) -> QuerySet[UsageCounter]:
    """Return the counters whose period contains `now`."""
    return UsageCounter.objects.filter(
        org_id=org_id, period_start__lte=now, period_end__gt=now
    ).order_by("metric")


def installation_epoch() -> int:
    """Return the epoch of the copy: publishes of an older one lose."""
    return (
        Installation.objects.filter(pk=Installation.ONLY).values_list("copy_epoch", flat=True).get()
    )
