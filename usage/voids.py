"""Taking an event back. The event stays; a voiding row and the counter say it no longer counts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from config.contract.errors import NotFound
from quotas import snapshots
from quotas.corrections import PeriodClosed, is_closed
from quotas.models import UsageCounter
from quotas.snapshots import installation_epoch
from usage.errors import EventSettled
from usage.models import UsageEvent, UsageVoid


@dataclass(frozen=True, slots=True)
class WouldVoid:
    """What voiding an event would do to its counter; `void` where it was done before."""

    event: UsageEvent
    counter: UsageCounter
    void: UsageVoid | None


def preview_void(*, org_id: str, request_id: str, now: datetime) -> WouldVoid:
    """Tell what `void_event` would do; writes nothing. Raises what it would raise."""
    event = _event(org_id, request_id)
    counter = UsageCounter.objects.get(**_counter_of(event))
    held = _void(event)
    if held is None:
        _refuse_settled(event, counter, now=now)
    return WouldVoid(event, counter, held)


def void_event(
    *, org_id: str, request_id: str, reason: str, voided_by: str, now: datetime
) -> UsageVoid:
    """Take back the units of one event; voiding it again returns the same row.

    Raises NotFound, PeriodClosed, or EventSettled where a reset has already
    forgiven the units.
    """
    with transaction.atomic():
        event = _event(org_id, request_id)
        counter = UsageCounter.objects.select_for_update().get(**_counter_of(event))
        # Read under the counter's lock: two voids of one event meet here.
        held = _void(event)
        if held is not None:
            return held
        _refuse_settled(event, counter, now=now)
        counter.counted -= event.value
        counter.version += 1
        counter.updated_at = max(counter.updated_at, now)
        # The threshold is named to be computed anew (quotas.crossings).
        counter.save(update_fields=["counted", "version", "next_threshold_at", "updated_at"])
        void = UsageVoid.objects.create(
            org_id=org_id,
            request_id=request_id,
            metric=event.metric,
            value=event.value,
            period_start=event.period_start,
            period_key=event.period_key,
            reason=reason,
            voided_by=voided_by,
            voided_at=now,
            used_after=counter.used,
            remaining_after=counter.remaining,
            counter_version=counter.version,
        )
    snapshots.publish(org_id, [snapshots.of_row(counter, installation_epoch())])
    return void


def _event(org_id: str, request_id: str) -> UsageEvent:
    event = UsageEvent.objects.filter(org_id=org_id, request_id=request_id).first()
    if event is None:
        raise NotFound("No such event")
    return event


def _counter_of(event: UsageEvent) -> dict[str, Any]:
    return {
        "org_id": event.org_id,
        "metric": event.metric,
        "period_start": event.period_start,
    }


def _void(event: UsageEvent) -> UsageVoid | None:
    return UsageVoid.objects.filter(org_id=event.org_id, request_id=event.request_id).first()


def _refuse_settled(event: UsageEvent, counter: UsageCounter, *, now: datetime) -> None:
    if is_closed(counter, now=now):
        raise PeriodClosed
    if event.counter_version <= counter.forgiven_version:
        raise EventSettled
