"""Processing events again: whatever became of them, as often as wanted, harmlessly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import QuerySet

from config.contract import clock
from config.contract.doorbell import ring
from config.contract.ids import new_request_id
from webhooks import processor
from webhooks.found import Reader
from webhooks.models import WebhookEvent
from webhooks.trial import Difference, differences

logger = structlog.get_logger("metergate.webhooks")
State = WebhookEvent.State
#: Events per message: each may have to wait for Stripe, and a task has two minutes.
_PER_RING = 10
#: Events per transaction.
_PER_BATCH = 500


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many events were queued; which are not known; which were waiting anyway."""

    enqueued: int
    unknown: list[str]
    already_queued: list[str]


def replay(event_ids: Sequence[str], *, by: str) -> Replayed:
    """Queue events to be processed again, each under a new correlation id.

    Handled, ignored and parked ones alike; one that waits for another try is due
    now. What was refused at the door stays refused: its ids are not ours.
    """
    wanted = list(dict.fromkeys(event_ids))
    found: dict[str, bool] = {}
    again: list[int] = []
    for start in range(0, len(wanted), _PER_BATCH):
        for row, was_waiting in _queue(wanted[start : start + _PER_BATCH]):
            found[row.event_id] = was_waiting
            again.append(row.pk)
    _nudge(again)
    result = Replayed(
        enqueued=sum(not waiting for waiting in found.values()),
        unknown=[one for one in wanted if one not in found],
        already_queued=[one for one in wanted if found.get(one)],
    )
    logger.info(
        "webhooks_replayed",
        by=by,
        enqueued=result.enqueued,
        unknown=len(result.unknown),
        already_queued=len(result.already_queued),
    )
    return result


def _nudge(pks: Sequence[int]) -> None:
    from webhooks.tasks import process  # tasks call this module: imported late

    for start in range(0, len(pks), _PER_RING):
        if not ring(process, *pks[start : start + _PER_RING]):
            return  # the sweeper finds them


def _queue(event_ids: Sequence[str]) -> list[tuple[WebhookEvent, bool]]:
    now = clock.real_now()
    with transaction.atomic():
        rows = list(
            WebhookEvent.objects.select_for_update().filter(event_id__in=event_ids).order_by("pk")
        )
        queued = [(row, row.state == State.PENDING) for row in rows]
        for row, was_waiting in queued:
            if was_waiting:
                row.due_at = min(row.due_at, now)
                continue
            # Behind what is due already: a long replay holds nothing fresh up.
            row.due_at = now
            row.state = State.PENDING
            row.attempts = 0
            row.error = ""
            row.correlation_id = new_request_id()
        WebhookEvent.objects.bulk_update(
            rows, ["due_at", "state", "attempts", "error", "correlation_id"]
        )
    return queued


def select(
    *,
    event_ids: Sequence[str] = (),
    states: Sequence[str] = (),
    type_: str = "",
    org_id: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> "QuerySet[WebhookEvent]":
    """Return the events that fit everything given, oldest first. `since` is included."""
    events = WebhookEvent.objects.order_by("received_at", "pk")
    if event_ids:
        events = events.filter(event_id__in=event_ids)
    if states:
        events = events.filter(state__in=states)
    if type_:
        events = events.filter(type=type_)
    if org_id:
        events = events.filter(org_id=org_id)
    if since is not None:
        events = events.filter(received_at__gte=since)
    if until is not None:
        events = events.filter(received_at__lt=until)
    return events


def dry_run(events: "QuerySet[WebhookEvent]") -> Iterator[Difference]:
    """Tell what replaying the events would change, field by field, and write nothing.

    Raises the gateway's errors.
    """
    asked: set[tuple[str, str]] = set()
    last = 0
    # Pages, not a cursor: connections are given back while Stripe is asked.
    while page := list(events.filter(pk__gt=last).order_by("pk")[:_PER_BATCH]):
        last = page[-1].pk
        for event in page:
            # Two events of one object and type ask the same question.
            if (event.object_id, event.type) in asked:
                continue
            asked.add((event.object_id, event.type))
            found = processor.look_up((event,), Reader(dry=True))
            yield from differences(found, because=processor.because_of(event))
