"""Setting a counter back to what its rows prove. The rows themselves are never touched."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, Sum

from config.contract.clients import clients
from quotas import counters, rules, thresholds
from quotas.adjustments import adjusted_units
from quotas.models import Adjustment, CounterRepair, Entitlement, Forgiveness, UsageCounter
from quotas.periods import Period, period_in
from usage.books import Key
from usage.models import UsageEvent, UsageVoid


def derived(
    counter: UsageCounter,
    entitlement: Entitlement,
    in_force: Sequence[Adjustment],
    *,
    at: datetime,
) -> dict[str, Any]:
    """Return what a running counter's columns follow to be from its entitlement at `at`."""
    period = _period(counter, entitlement, at)
    limit = rules.limit_for(
        entitlement, counter.metric, period_start=period.start, period_end=period.end, at=at
    )
    until = rules.valid_until(entitlement, period_end=period.end, overage=limit.overage, at=at)
    expiries = [one.expires_at for one in in_force if one.expires_at is not None]
    return {
        "period_key": period.key,
        "period_end": period.end,
        "included": limit.included,
        "overage": str(limit.overage),
        "access": rules.has_access(entitlement, at),
        "valid_until": min([until, *expiries]),
    }


def repair(key: Key, *, who: str, now: datetime) -> bool:
    """Make one counter say what its rows and its entitlement prove; returns whether it did not.

    Under the locks of both. A counter that is missing is inserted, where events
    name a period that the entitlement cuts. What no row proves is left alone.
    """
    org_id, metric, start = key
    with transaction.atomic():
        entitlement = Entitlement.objects.select_for_update().filter(org_id=org_id).first()
        # READ COMMITTED: what is read after the lock is all that was committed under it.
        counter = (
            UsageCounter.objects.select_for_update()
            .filter(org_id=org_id, metric=metric, period_start=start)
            .first()
        )
        before: dict[str, Any] = {}
        if counter is None:
            counter = _insert(entitlement, metric, start, now=now)
            if counter is None:
                return False
        else:
            before = _columns(counter)
        _set_right(counter, entitlement, now=now)
        after = _columns(counter) | _armed(counter)
        if before == after:
            # The row was right: what differed was the copy, or rows that nothing proves.
            clients.copy.forget(org_id)
            return False
        counter.version += 1
        counter.updated_at = max(counter.updated_at, now)
        counter.save()
        changed = [name for name in after if before.get(name) != after[name]]
        CounterRepair.objects.create(
            org_id=org_id,
            metric=metric,
            period_start=start,
            before={name: before.get(name) for name in changed},
            after={name: after[name] for name in changed},
            made_by=who,
            made_at=now,
        )
    counters.publish_open(org_id, now=now)
    return True


def _set_right(counter: UsageCounter, entitlement: Entitlement | None, *, now: datetime) -> None:
    of_counter = {
        "org_id": counter.org_id,
        "metric": counter.metric,
        "period_start": counter.period_start,
    }
    events = UsageEvent.objects.filter(**of_counter).aggregate(
        units=Sum("value"), version=Max("counter_version")
    )
    voids = UsageVoid.objects.filter(**of_counter).aggregate(
        units=Sum("value"), version=Max("counter_version")
    )
    forgiven = Forgiveness.objects.filter(**of_counter).aggregate(units=Sum("units"))["units"]
    counter.counted = (events["units"] or 0) - (voids["units"] or 0)
    counter.forgiven = min(forgiven or 0, counter.counted)
    counter.version = max(counter.version, events["version"] or 0, voids["version"] or 0)
    counter.forgiven_version = min(counter.forgiven_version, counter.version)
    if counter.closed_at is not None and counter.closed_at < counter.period_end:
        counter.closed_at = None
    if counter.closed_at is not None:
        return
    counter.adjusted, _ = adjusted_units(counter, now=now)
    if entitlement is None:
        return
    period = _period(counter, entitlement, now)
    if now < period.end:
        rows = Adjustment.objects.filter(**of_counter)
        in_force = [one for one in rows if one.expires_at is None or one.expires_at > now]
        for name, value in derived(counter, entitlement, in_force, at=now).items():
            setattr(counter, name, value)


def _insert(
    entitlement: Entitlement | None, metric: str, start: datetime, *, now: datetime
) -> UsageCounter | None:
    if entitlement is None:
        return None
    try:
        period = period_in(rules.cuts_of(entitlement, now), start)
    except LookupError:
        return None
    if period.start != start:
        return None
    counter = counters.new_counter(entitlement, metric, period, now=now)
    counter.save(force_insert=True)
    return counter


def _period(counter: UsageCounter, entitlement: Entitlement, at: datetime) -> Period:
    """Return the counter's period as the entitlement cuts it, or as it stands where it does not."""
    try:
        period = rules.period_of(entitlement, counter.period_start, known_at=at)
    except LookupError:
        period = None
    if period is None or period.start != counter.period_start:
        return Period(counter.period_key, counter.period_start, counter.period_end)
    return period


def _armed(counter: UsageCounter) -> dict[str, Any]:
    """Return where the next threshold lies; writing the counter makes its trigger find the same."""
    if counter.closed_at is not None:
        return {"next_threshold_at": counter.next_threshold_at}
    return {"next_threshold_at": thresholds.expected([counter])[counter.pk]}


def _columns(counter: UsageCounter) -> dict[str, Any]:
    return {
        "counted": counter.counted,
        "forgiven": counter.forgiven,
        "forgiven_version": counter.forgiven_version,
        "adjusted": counter.adjusted,
        "included": counter.included,
        "overage": str(counter.overage),
        "access": counter.access,
        "version": counter.version,
        "next_threshold_at": counter.next_threshold_at,
        "period_key": counter.period_key,
        "period_end": counter.period_end.isoformat(),
        "valid_until": counter.valid_until.isoformat(),
        "closed_at": counter.closed_at.isoformat() if counter.closed_at else None,
    }
