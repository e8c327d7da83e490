"""Filling gaps: what Stripe lists and the inbox does not have is taken in."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from billing.stripe_gateway import Gateway
from config.contract import clock
from config.contract.clients import clients
from config.contract.ids import new_request_id
from webhooks import events, inbox
from webhooks.handlers import STRIPES_TYPES
from webhooks.models import EventCoverage, WebhookEvent
from webhooks.replay import replay

logger = structlog.get_logger("metergate.webhooks")
Json = dict[str, Any]

#: How far a comparison reaches back before the last one: an event may be listed late.
OVERLAP = timedelta(hours=1)
#: How far the first one reaches back: for so long Stripe itself tries to deliver.
FIRST = timedelta(days=3)
#: Stripe lists no older events.
KEPT = timedelta(days=30)
#: Compared and noted at a time, so that a run cut short is not begun again.
_SLICE = timedelta(days=1)
_LEASE = timedelta(seconds=120)
#: Stripe takes so many types in one question.
_TYPES_AT_ONCE = 20
#: What Stripe's being away looks like on an event: not the event's fault.
_OUTAGES = ("Unavailable", "StripeFailed", "StripeKeyRefused")


@dataclass(frozen=True, slots=True)
class Filled:
    """What a comparison came to. Not `complete` where time ran out: there is more to compare."""

    listed: int
    taken_in: int
    complete: bool


def fill(*, now: datetime, since: datetime | None = None, seconds: float = 60.0) -> Filled | None:
    """Compare the inbox with Stripe's list of events, and take in what is missing.

    From `since`, or from where the last comparison ended with some overlap, up to
    `now`. None where another process is at it. Raises the gateway's errors; what
    was compared until then is noted.
    """
    coverage = _lease()
    if coverage is None:
        return None
    end = time.monotonic() + seconds
    start = since or (coverage.covered_to or now - FIRST + OVERLAP) - OVERLAP
    start = max(start, now - KEPT)
    listed = taken_in = 0
    try:
        while start < now and time.monotonic() < end:
            until = min(start + _SLICE, now)
            for page in _pages(start, until):
                listed += len(page)
                taken_in += _take_in(page, now=now)
            start = until
            _note(coverage, until)
    finally:
        EventCoverage.objects.filter(pk=coverage.pk).update(lease_until=clock.real_now())
    if taken_in:
        logger.warning("webhook_gap_filled", taken_in=taken_in, listed=listed)
    return Filled(listed, taken_in, complete=start >= now)


def give_outages_another_round() -> int:
    """Queue what was parked because Stripe was away. Returns how many.

    For when Stripe answers again; what was parked for another reason waits for a person.
    """
    parked = WebhookEvent.objects.filter(state=WebhookEvent.State.PARKED, error__in=_OUTAGES)
    ids = list(parked.order_by("pk").values_list("event_id", flat=True)[:5000])
    return replay(ids, by="gap filler").enqueued if ids else 0


def _lease() -> EventCoverage | None:
    now = clock.real_now()
    EventCoverage.objects.bulk_create([EventCoverage(lease_until=now)], ignore_conflicts=True)
    free = EventCoverage.objects.filter(pk=EventCoverage.ONLY, lease_until__lte=clock.real_now())
    if free.update(lease_until=now + _LEASE) == 0:
        return None
    return EventCoverage.objects.get(pk=EventCoverage.ONLY)


def _note(coverage: EventCoverage, until: datetime) -> None:
    if coverage.covered_to is None or until > coverage.covered_to:
        coverage.covered_to = until
    coverage.lease_until = clock.real_now() + _LEASE
    coverage.save(update_fields=["covered_to", "lease_until"])


def _pages(start: datetime, until: datetime) -> Iterator[list[Json]]:
    gateway: Gateway = clients.stripe
    for first in range(0, len(STRIPES_TYPES), _TYPES_AT_ONCE):
        after: str | None = None
        while True:
            page = gateway.list_events(
                types=STRIPES_TYPES[first : first + _TYPES_AT_ONCE],
                created_from=int(start.timestamp()),
                # Seconds are whole at Stripe: the one that has begun counts in.
                created_to=int(until.timestamp()) + 1,
                starting_after=after,
            )
            if page["data"]:
                yield page["data"]
            if not page["has_more"]:
                break
            after = page["data"][-1]["id"]


def _take_in(page: Sequence[Json], *, now: datetime) -> int:
    documents = {one["id"]: one for one in page}
    taken = 0
    for event_id in inbox.unknown(documents):
        arrival = events.from_document(documents[event_id], now=now)
        if arrival is None:
            logger.error("webhook_refused", event_id=event_id, reason="not_an_event")
            continue
        pk = inbox.put(arrival, correlation_id=new_request_id(), now=now, real_now=clock.real_now())
        taken += pk is not None
    return taken
