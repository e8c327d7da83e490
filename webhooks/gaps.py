"""Filling gaps: what Stripe lists and the inbox does not have is taken in."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.db import transaction

from config.contract import clock
from config.contract.ids import new_request_id
from webhooks import events, inbox
from webhooks.handlers import STRIPES_TYPES
from webhooks.listing import Stream
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
_LEASE = timedelta(seconds=120)
#: Stripe takes so many types in one question.
_TYPES_AT_ONCE = 20
_GROUPS = [
    STRIPES_TYPES[first : first + _TYPES_AT_ONCE]
    for first in range(0, len(STRIPES_TYPES), _TYPES_AT_ONCE)
]
#: What Stripe's being away looks like on an event: not the event's fault.
_OUTAGES = ("Unavailable", "StripeFailed", "StripeKeyRefused")


@dataclass(frozen=True, slots=True)
class Filled:
    """What a comparison came to. Not `complete` where time ran out: there is more to compare."""

    listed: int
    taken_in: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """One comparison: the streams that are read side by side, and up to when."""

    streams: Sequence[Stream]
    until: datetime

    @property
    def is_finished(self) -> bool:
        """Whether everything up to its end was read."""
        return all(stream.finished for stream in self.streams)

    @property
    def covered_to(self) -> datetime:
        """Before when everything was read."""
        if self.is_finished:
            return self.until
        return datetime.fromtimestamp(min(one.reached for one in self.streams), UTC)

    def next_page(self) -> list[Json]:
        """Return the next events: of the stream that lags behind, so that all go on in time."""
        unread = [stream for stream in self.streams if not stream.finished]
        return min(unread, key=lambda one: one.reached).next_page()

    def progress(self) -> Json:
        """Return what it takes to go on from here."""
        read = {
            _name(one.types): {"after": one.after, "reached": one.reached} for one in self.streams
        }
        return {"until": self.until.isoformat(), "read": read}


def fill(*, now: datetime, since: datetime | None = None, seconds: float = 60.0) -> Filled | None:
    """Compare the inbox with Stripe's list of events, and take in what is missing, oldest first.

    From `since`, or from where the last comparison ended with some overlap, up to
    `now`. One that was cut short is gone on with, up to its own end: after each page
    it is noted how far it came, in the transaction that takes the page in. None where
    another process is at it. Raises the gateway's errors.
    """
    coverage = _lease()
    if coverage is None:
        return None
    end = time.monotonic() + seconds
    reading = _unfinished(coverage, now) if since is None else None
    reading = reading or _from(coverage, now, since)
    listed = taken_in = 0
    try:
        while time.monotonic() < end:
            if reading.is_finished:
                if reading.until >= now:
                    break
                # That was the rest of an earlier one.
                reading = _from(coverage, now, None)
            page = reading.next_page()
            with transaction.atomic():
                taken_in += _take_in(page, now=now)
                _note(coverage, reading)
            listed += len(page)
    finally:
        EventCoverage.objects.filter(pk=coverage.pk).update(lease_until=clock.real_now())
    complete = reading.is_finished and reading.until >= now
    if taken_in:
        logger.warning("webhook_gap_filled", taken_in=taken_in, listed=listed, complete=complete)
    return Filled(listed, taken_in, complete)


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


def _unfinished(coverage: EventCoverage, now: datetime) -> Reading | None:
    """Return the rest of a comparison that was cut short; None where there is none.

    With other types than those that were read, as after an upgrade, it begins again.
    """
    try:
        noted = coverage.progress or {}
        until = datetime.fromisoformat(noted["until"])
        read = [(types, noted["read"][_name(types)]) for types in _GROUPS]
        streams = [
            Stream(
                types,
                since=max(int(one["reached"]), int((now - KEPT).timestamp())),
                until=_second_after(until),
                after=one["after"],
            )
            for types, one in read
        ]
    except (KeyError, TypeError, ValueError):
        return None
    return Reading(streams, until)


def _from(coverage: EventCoverage, now: datetime, since: datetime | None) -> Reading:
    start = since or (coverage.covered_to or now - FIRST + OVERLAP) - OVERLAP
    begin = int(max(start, now - KEPT).timestamp())
    streams = [Stream(types, since=begin, until=_second_after(now)) for types in _GROUPS]
    return Reading(streams, now)


def _note(coverage: EventCoverage, reading: Reading) -> None:
    """Note how far the comparison came; in the transaction that took the page in."""
    if coverage.covered_to is None or reading.covered_to > coverage.covered_to:
        coverage.covered_to = reading.covered_to
    coverage.progress = None if reading.is_finished else reading.progress()
    coverage.lease_until = clock.real_now() + _LEASE
    coverage.save(update_fields=["covered_to", "progress", "lease_until"])


def _second_after(at: datetime) -> int:
    # Seconds are whole at Stripe: the one that has begun counts in.
    return int(at.timestamp()) + 1


def _name(types: Sequence[str]) -> str:
    """Name a stream by what it reads: with other types it is another one."""
    return hashlib.sha256(",".join(types).encode()).hexdigest()[:16]


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
