"""Claiming an object's events, and giving them back: done, waiting for another try, or parked."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from config.contract import metrics
from webhooks.handlers import HANDLERS
from webhooks.models import WebhookEvent

logger = structlog.get_logger("metergate.webhooks")

# One statement and one commit, since every event is claimed. Each failure is noted, so
# an event that was tried so often, and of whose last try nothing is noted, kills workers.
_CLAIMING = """
    WITH first AS (
        SELECT object_id FROM webhooks_webhookevent WHERE {one} AND {due}
         ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ), of_object AS (
        SELECT id FROM webhooks_webhookevent
         WHERE object_id = (SELECT object_id FROM first) AND {due}
         ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE webhooks_webhookevent AS event
       SET attempts = least(attempts + 1, %(most)s),
           lease_until = CASE WHEN attempts < %(most)s THEN %(until)s::timestamptz END,
           state = CASE WHEN attempts < %(most)s THEN state ELSE 'parked' END,
           error = CASE WHEN attempts < %(most)s THEN error ELSE 'WorkerLost' END
      FROM of_object WHERE event.id = of_object.id
    RETURNING event.id, event_id, type, object_id, org_id, correlation_id, state, refused,
              attempts, key_generation, due_at, lease_until, error, created_at, received_at,
              processed_at
"""
_DUE = "state = 'pending' AND due_at <= %(now)s AND (lease_until IS NULL OR lease_until <= %(now)s)"
_CLAIM = _CLAIMING.format(one="true", due=_DUE)
_CLAIM_ONE = _CLAIMING.format(one="id = %(pk)s", due=_DUE)

#: Longer than the gateway's budget for one object: who is alive finishes within it.
LEASE = timedelta(seconds=60)
#: An event that failed so often is left to a person.
MOST_ATTEMPTS = 8
_FIRST_WAIT = timedelta(seconds=1)
_LONGEST_WAIT = timedelta(hours=1)
#: Between two tries while Stripe refuses our API key.
OUTAGE_WAIT = timedelta(minutes=1)
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

    @property
    def key_generation(self) -> int:
        """How often the idempotency keys of what is done at Stripe were renewed."""
        return max(one.key_generation for one in self.events)

    def held(self) -> list[WebhookEvent]:
        """Lock and return the events that are still ours. Runs inside a transaction.

        Whoever took over a lease that ran out holds another one.
        """
        return list(
            # What it says is long and not needed: the object is fetched.
            WebhookEvent.objects.defer("payload")
            .select_for_update()
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
        rows = list(
            WebhookEvent.objects.raw(
                _CLAIM if pk is None else _CLAIM_ONE,
                {"now": now, "until": now + LEASE, "most": MOST_ATTEMPTS, "pk": pk},
            )
        )
        if not rows:
            return None
        leased, parked = _by_state(rows)
        tell_of_parked(parked)
        if leased:
            return Claim(leased[0].object_id, tuple(leased), now + LEASE)


def settle(events: list[WebhookEvent], *, org_id: str, now: datetime) -> None:
    """Mark events done, in the transaction of their effects.

    Those that nothing handles, and those refused at the door, are ignored once more.
    """
    settled: dict[str, object] = {"error": "", "lease_until": None}
    if org_id:
        settled["org_id"] = org_id
    ignored = [one.pk for one in events if one.refused or one.type not in HANDLERS]
    done = [one.pk for one in events if one.pk not in ignored]
    table = WebhookEvent.objects
    if done:
        table.filter(pk__in=done).update(state=State.PROCESSED, processed_at=now, **settled)
    if ignored:
        table.filter(pk__in=ignored).update(state=State.IGNORED, **settled)


def give_back(
    claimed: Claim,
    *,
    error: str,
    now: datetime,
    is_outage: bool = False,
    renew_keys: bool = False,
) -> tuple[list[WebhookEvent], list[WebhookEvent]]:
    """Let the events wait for another try, or park them; returns those and these.

    `error` is a name, never a text: texts can quote what a customer typed. `now`
    is real time. In an outage of ours no try is used up. `renew_keys` asks Stripe under
    new keys from now on, where it keeps a 500 under the old ones.
    """
    with transaction.atomic():
        events = claimed.held()
        for one in events:
            one.error = error[:500]
            one.lease_until = None
            one.key_generation += renew_keys
            if is_outage:
                one.attempts -= 1
                one.due_at = now + OUTAGE_WAIT
            elif one.attempts >= MOST_ATTEMPTS:
                one.state = State.PARKED
            else:
                one.due_at = now + wait_after(one.attempts)
        WebhookEvent.objects.bulk_update(
            events, ["error", "lease_until", "state", "due_at", "attempts", "key_generation"]
        )
    return _by_state(events)


def tell_of_parked(parked: list[WebhookEvent]) -> None:
    """Log an error for each: nothing happens to them any more until a person replays them."""
    metrics.WEBHOOKS.labels("parked").inc(len(parked))
    for one in parked:
        logger.error(
            "webhook_parked",
            event_id=one.event_id,
            type=one.type,
            error=one.error,
            tenant_id=one.org_id or None,
        )


def _by_state(
    events: Iterable[WebhookEvent],
) -> tuple[list[WebhookEvent], list[WebhookEvent]]:
    return (
        [one for one in events if one.state == State.PENDING],
        [one for one in events if one.state == State.PARKED],
    )


def wait_after(attempts: int) -> timedelta:
    """Return how long to wait after so many tries: 1 s, 4 s, 16 s … 1 h, spread by a fifth.

    Spread, so that what failed together does not come back together.
    """
    wait = min(_LONGEST_WAIT, _FIRST_WAIT * int(4 ** (attempts - 1)))
    return wait * random.uniform(0.8, 1.0)  # noqa: S311 - not a secret
