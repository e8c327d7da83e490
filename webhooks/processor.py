"""Working on the inbox: claim, fetch, write down.

1. Lease all due events of one object, in a short transaction.
2. Fetch what they are about, with no transaction open.
3. In one transaction: lock the events, apply what was fetched, mark them done.

A crash before 3 leaves the events and a lease that runs out; there is no state
in which the effects are there and the mark is not.
"""

import structlog
from django.db import transaction

from billing.stripe_gateway import StripeFailed, StripeKeyRefused
from config.contract import clock, metrics
from config.contract.errors import ApiError
from webhooks.claims import Claim, claim, give_back, settle, tell_of_parked
from webhooks.found import Found, Reader, merged
from webhooks.handlers import HANDLERS
from webhooks.models import WebhookEvent

logger = structlog.get_logger("metergate.webhooks")


def process_event(pk: int) -> bool:
    """Work on an event and on all others due of its object. False where there is nothing to do."""
    return _process(claim(now=clock.real_now(), pk=pk))


def process_next() -> bool:
    """Work on the object whose event is due longest. False where nothing is due."""
    return _process(claim(now=clock.real_now()))


def _process(claimed: Claim | None) -> bool:
    if claimed is None:
        return False
    with structlog.contextvars.bound_contextvars(correlation_id=claimed.newest.correlation_id):
        try:
            found = look_up(claimed.events, Reader())
            found.act(key_generation=claimed.key_generation)
            _write_down(claimed, found)
        except Exception as error:  # noqa: BLE001 - whatever it is, the events must not be lost
            _fail(claimed, error)
    return True


def look_up(events: tuple[WebhookEvent, ...], read: Reader) -> Found:
    """Fetch what events of one object are about. No transaction open.

    Events that were refused at the door, and those of types that nothing handles,
    are about nothing.
    """
    wanted = {HANDLERS[one.type] for one in events if one.type in HANDLERS and not one.refused}
    return merged(handler(read, events[0].object_id) for handler in wanted)


def because_of(event: WebhookEvent) -> str:
    """Say which event an effect is owed to, for whoever asks later."""
    return f"{event.type} {event.event_id}"[:200]


def _write_down(claimed: Claim, found: Found) -> None:
    with transaction.atomic():
        # Lock order: inbox rows, then whatever the effects lock.
        events = claimed.held()
        if not events:
            logger.warning("webhook_lease_lost", object=claimed.object_id)
            return
        org_id = found.apply(because=because_of(claimed.newest))
        settle(events, org_id=org_id, now=clock.now())
    metrics.WEBHOOKS.labels("processed").inc(len(events))
    logger.info(
        "webhook_processed",
        object=claimed.object_id,
        events=[one.event_id for one in events],
        tenant_id=org_id or None,
    )


def _fail(claimed: Claim, error: Exception) -> None:
    name = type(error).__name__
    retried, parked = give_back(
        claimed,
        error=name,
        now=clock.real_now(),
        # Not the events' fault: they wait until the key is mended.
        is_outage=isinstance(error, StripeKeyRefused),
        renew_keys=isinstance(error, StripeFailed),
    )
    metrics.WEBHOOKS.labels("retried").inc(len(retried))
    # What Stripe answered is logged by the gateway; anything else is a fault of ours.
    expected = isinstance(error, ApiError)
    logger.warning("webhook_failed", object=claimed.object_id, error=name, exc_info=not expected)
    tell_of_parked(parked)
