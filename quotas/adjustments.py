"""The staff's signed rows behind a counter's `adjusted`, and what becomes of them at a restart."""

from datetime import datetime

from django.db.models import Min, Q, QuerySet, Sum

from quotas.models import Adjustment, UsageCounter

_CARRIED = "carried over: the period restarted"


def in_force(counter: UsageCounter, *, now: datetime) -> "QuerySet[Adjustment]":
    """Return the rows that count at `now`."""
    return Adjustment.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        org_id=counter.org_id,
        metric=counter.metric,
        period_start=counter.period_start,
    )


def adjusted_units(counter: UsageCounter, *, now: datetime) -> tuple[int, datetime | None]:
    """Return the sum of a counter's adjustments in force, and when the next of them expires."""
    found = in_force(counter, now=now).aggregate(total=Sum("units"), nearest=Min("expires_at"))
    return found["total"] or 0, found["nearest"]


def unspent(counter: UsageCounter, granted: int) -> int:
    """Return how many of the units granted beside the included ones are not used."""
    return max(0, min(granted, counter.included + granted - counter.used))


def carry_over(before: UsageCounter, after: UsageCounter, *, now: datetime) -> bool:
    """Move what is left of granted units into the period that cut theirs short.

    A restart brings the plan's units anew; what staff gave beside them must not be
    lost by it. Two rows for each grant, one in each period, so that no unit is in
    both. Both counters are locked, and derived by the caller where this returns True.
    """
    left = unspent(before, adjusted_units(before, now=now)[0])
    rows = []
    granted = in_force(before, now=now).filter(units__gt=0)
    for grant in sorted(granted, key=lambda one: (one.expires_at is not None, one.pk)):
        units = min(grant.units, left)
        if units <= 0:
            break
        left -= units
        for counter, signed in ((before, -units), (after, units)):
            rows.append(
                Adjustment(
                    org_id=counter.org_id,
                    metric=counter.metric,
                    period_start=counter.period_start,
                    units=signed,
                    reason=_CARRIED,
                    made_by=grant.made_by,
                    made_at=now,
                    expires_at=grant.expires_at,
                )
            )
    Adjustment.objects.bulk_create(rows)
    return bool(rows)
