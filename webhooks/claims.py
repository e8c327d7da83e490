"""Claiming an object's events, and giving them back: done, waiting for another try, or parked."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from webhooks.handlers import HANDLERS
from webhooks.models import WebhookEvent

#: Longer than the gateway's budget for one object: who is alive finishes within it.
LEASE = timedelta(seconds=60)
#: An event that failed so often is left to a person.
MOST_ATTEMPTS = 8
_FIRST_WAIT = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(hours=1)
State = WebhookEvent.State


@dataclass(frozen=True, slots=True)
class Claim:
    """Events of one object that nobody else works on until `lease_until` (real time)."""

    object_id: str
    events: tuple[WebhookEvent, ...]
    lease_until: datetime

    @property
    def newest(self) -> WebhookEvent:
        """The event that speaks for all: they say the same, that the object changed."""
        return max(self.events, key=lambda one: (one.created_at, one.pk))

    def held(self) -> list[WebhookEvent]:
        """Lock and return the events that are still ours. Runs inside a transaction.

        Whoever took over a lease that ran out holds another one.
        """
        return list(
            WebhookEvent.objects.select_for_update()
            .filter(
                pk__in=[one.pk for one in self.events],
                state=State.PENDING,
                lease_until=self.lease_until,
            )
            .order_by("pk")
        )


def claim(*, now: datetime, pk: int | None = None) -> Claim | None:
    """Lease all due events of one object: that of the row `pk`, or of the row due longest.

    `now` is real time. Commits; None where nothing is due. Rows that another
    worker is about to claim are left to it.
    """
    while True:
        with transaction.atomic():
            free = WebhookEvent.objects.due(now).select_for_update(skip_locked=True)
            first = (free.filter(pk=pk) if pk is not None else free.order_by("due_at")).first()
            if first is None:
                return None
            events = list(free.filter(object_id=first.object_id).order_by("pk"))
            lease_until = now + LEASE
            for one in events:
                _lease(one, until=lease_until)
            WebhookEvent.objects.bulk_update(events, ["attempts", "lease_until", "state", "error"])
        leased = tuple(one for one in events if one.state == State.PENDING)
        if leased:
            return Claim(first.object_id, leased, lease_until)


def _lease(event: WebhookEvent, *, until: datetime) -> None:
    if event.attempts >= MOST_ATTEMPTS:
        # Each failure was noted, so this many unnoted ones are deaths.
        event.state = State.PARKED
        event.error = "WorkerLost"
        event.lease_until = None
    else:
        event.attempts += 1
        event.lease_until = until


def settle(events: list[WebhookEvent], *, org_id: str, now: datetime) -> None:
    """Mark events done, in the transaction of their effects.

    Those that nothing handles, and those refused at the door, are ignored once more.
    """
    for one in events:
        if one.refused or one.type not in HANDLERS:
            one.state = State.IGNORED
        else:
            one.state = State.PROCESSED
            one.processed_at = now
        one.org_id = org_id or one.org_id
        one.error = ""
        one.lease_until = None
    WebhookEvent.objects.bulk_update(
        events, ["state", "processed_at", "org_id", "error", "lease_until"]
    )


def give_back(claimed: Claim, *, error: str, now: datetime) -> list[WebhookEvent]:
    """Let the events wait for another try, or park them; returns the parked ones.

    `error` is a name, never a text: texts can quote what a customer typed. `now`
    is real time.
    """
    with transaction.atomic():
        events = claimed.held()
        for one in events:
            one.error = error[:500]
            one.lease_until = None
            if one.attempts >= MOST_ATTEMPTS:
                one.state = State.PARKED
            else:
                one.due_at = now + wait_after(one.attempts)
        WebhookEvent.objects.bulk_update(events, ["error", "lease_until", "state", "due_at"])
    return [one for one in events if one.state == State.PARKED]


def wait_after(attempts: int) -> timedelta:
    """Return how long to wait after so many tries: 1 s, 4 s, 16 s … 1 h, spread by a fifth.

    Spread, so that what failed together does not come back together.
    """
    wait = min(_LONGEST_WAIT, _FIRST_WAIT * int(4 ** (attempts - 1)))
    return wait * random.uniform(0.8, 1.0)  # noqa: S311 - not a secret
