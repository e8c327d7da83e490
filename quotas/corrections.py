"""What staff may change of a counter: by rows of their own, never by the number.

`adjusted` is the sum of the adjustments in force, `forgiven` of the resets. No
webhook touches either: `grant` writes `included` and nothing else.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from config.contract.errors import ApiError, NotFound, ValidationFailed
from quotas import counters, rules, snapshots
from quotas.errors import OutsideWindow
from quotas.models import Adjustment, Entitlement, Forgiveness, UsageCounter


class PeriodClosed(ApiError):
    """The period takes no more changes."""

    def __init__(self) -> None:
        super().__init__("PERIOD_CLOSED", "The period is closed", 409)


def adjust(
    *,
    org_id: str,
    metric: str,
    units: int,
    reason: str,
    who: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> UsageCounter:
    """Grant units in the period that contains `now` (or take some away), until `expires_at`.

    Returns the counter as it left it. Raises ValidationFailed, NotFound where
    nothing was ever granted, PeriodClosed where `now` lies in a period that the
    organisation has left behind.
    """
    _check(units=units, expires_at=expires_at, now=now)
    refused = counters.open_periods(org_id=org_id, wanted=[(metric, now)], now=now)
    if any(isinstance(refusal, OutsideWindow) for refusal in refused.values()):
        raise PeriodClosed
    with transaction.atomic():
        entitlement, counter, now = _locked_current(org_id, metric, now)
        Adjustment.objects.create(
            org_id=org_id,
            metric=metric,
            period_start=counter.period_start,
            units=units,
            reason=reason,
            made_by=who,
            made_at=now,
            expires_at=expires_at,
        )
        counters.derive_one(entitlement, counter, now=now)
    _publish(counter)
    return counter


@dataclass(frozen=True, slots=True)
class WouldAdjust:
    """What an adjustment makes of the current period's limit."""

    period_key: str
    used: int
    limit: int
    limit_after: int


def preview_adjust(
    *,
    org_id: str,
    metric: str,
    units: int,
    now: datetime,
    expires_at: datetime | None = None,
) -> WouldAdjust:
    """Tell what `adjust` would do; writes nothing. Raises what it would raise."""
    _check(units=units, expires_at=expires_at, now=now)
    entitlement = Entitlement.objects.filter(org_id=org_id).first()
    if entitlement is None:
        raise NotFound
    counter = UsageCounter.objects.filter(
        org_id=org_id, metric=metric, period_start__lte=now, period_end__gt=now
    ).first()
    if counter is not None:
        if is_closed(counter, now=now):
            raise PeriodClosed
        key, used, included = counter.period_key, counter.used, counter.included
        adjusted = counter.adjusted
    else:
        period = rules.period_of(entitlement, now, known_at=now)
        limit = rules.limit_for(
            entitlement, metric, period_start=period.start, period_end=period.end, at=now
        )
        key, used, included, adjusted = period.key, 0, limit.included, 0
    # More may have been taken away than was there: the sum counts, not the limit.
    return WouldAdjust(key, used, max(0, included + adjusted), max(0, included + adjusted + units))


def _check(*, units: int, expires_at: datetime | None, now: datetime) -> None:
    if not units or abs(units) > 2**53:
        raise ValidationFailed({"units": ["Expected a number of units other than 0"]})
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed({"expiresAt": ["Must be ahead"]})


def forgive(
    *,
    org_id: str,
    metric: str,
    reason: str,
    who: str,
    now: datetime,
    act_id: UUID | None = None,
) -> Forgiveness | None:
    """Take all units used in the current period off the books; None where none were.

    The events counted so far are settled: they can no longer be voided. With an
    `act_id` it is done once, however often it is asked for: None from then on.
    Raises NotFound, and PeriodClosed as `adjust` does.
    """
    with transaction.atomic():
        _, counter, now = _locked_current(org_id, metric, now)
        if act_id is not None and _is_forgiven(counter, act_id):
            return None
        if not counter.used:
            return None
        row = Forgiveness.objects.create(
            org_id=org_id,
            metric=metric,
            period_start=counter.period_start,
            units=counter.used,
            reason=reason,
            made_by=who,
            made_at=now,
            act_id=act_id,
        )
        counter.forgiven = counter.counted
        counter.version += 1
        # Events up to the version before this one are settled.
        counter.forgiven_version = counter.version
        counter.updated_at = now  # the latest instant, read under the counter's lock
        counter.save(update_fields=["forgiven", "forgiven_version", "version", "updated_at"])
    _publish(counter)
    return row


def is_closed(counter: UsageCounter, *, now: datetime) -> bool:
    """Tell whether a period takes no more changes. It is so by the clock, job or no job."""
    return counter.closed_at is not None or now >= counter.period_end + rules.late_grace(
        counter.overage
    )


def _is_forgiven(counter: UsageCounter, act_id: UUID) -> bool:
    return Forgiveness.objects.filter(
        act_id=act_id, org_id=counter.org_id, metric=counter.metric
    ).exists()


def _locked_current(
    org_id: str, metric: str, now: datetime
) -> tuple[Entitlement, UsageCounter, datetime]:
    """Lock and return what is corrected, and the organisation's instant.

    Whether the period is closed is asked as of the latest instant known: one that was
    closed, and sealed, stays as it is whatever `now` the caller comes with.
    """
    entitlement = counters.lock(org_id)
    counter = (
        UsageCounter.objects.select_for_update()
        .filter(org_id=org_id, metric=metric, period_start__lte=now, period_end__gt=now)
        .first()
    )
    if entitlement is None or counter is None:
        raise NotFound
    now = counters.instant_of(entitlement, now=now)
    if is_closed(counter, now=now):
        raise PeriodClosed
    return entitlement, counter, now


def _publish(counter: UsageCounter) -> None:
    epoch = snapshots.installation_epoch()
    snapshots.publish(counter.org_id, [snapshots.of_row(counter, epoch)])
