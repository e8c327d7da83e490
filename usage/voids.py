"""Taking an event back. The event stays; a voiding row and the counter say it no longer counts."""

from datetime import datetime

from django.db import transaction
from django.db.models import F

from config.contract.errors import NotFound
from quotas import snapshots
from quotas.corrections import PeriodClosed, is_closed
from quotas.counters import installation_epoch
from quotas.models import UsageCounter
from usage.errors import EventSettled
from usage.models import UsageEvent, UsageVoid


def void_event(
    *, org_id: str, request_id: str, reason: str, voided_by: str, now: datetime
) -> UsageVoid:
    """Take back the units of one event; voiding it again returns the same row.

    Raises NotFound, PeriodClosed, or EventSettled where a reset has already
    forgiven the units.
    """
    with transaction.atomic():
        event = UsageEvent.objects.filter(org_id=org_id, request_id=request_id).first()
        if event is None:
            raise NotFound("No such event")
        counter = UsageCounter.objects.select_for_update().get(
            org_id=org_id, metric=event.metric, period_start=event.period_start
        )
        # Read under the counter's lock: two voids of one event meet here.
        held = UsageVoid.objects.filter(org_id=org_id, request_id=request_id).first()
        if held is not None:
            return held
        if is_closed(counter, now=now):
            raise PeriodClosed
        if event.counter_version <= counter.forgiven_version:
            raise EventSettled
        counter.counted -= event.value
        counter.version += 1
        UsageCounter.objects.filter(pk=counter.pk).update(
            counted=F("counted") - event.value,
            version=F("version") + 1,
            next_threshold_at=None,  # computed anew (quotas.crossings)
            updated_at=now,
        )
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
