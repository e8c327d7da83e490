"""Receiving: verify, store, ring. No work is done while Stripe waits."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.conf import settings

from billing.stripe_gateway import verify_signature
from config.contract import metrics
from config.contract.doorbell import ring
from config.contract.errors import ApiError
from webhooks import events, inbox
from webhooks.handlers import HANDLERS
from webhooks.tasks import process

logger = structlog.get_logger("metergate.webhooks")


class SignatureInvalid(ApiError):
    """Nobody who knows a secret of ours signed this body within the last five minutes."""

    def __init__(self) -> None:
        super().__init__("SIGNATURE_INVALID", "The signature is not valid", 400)


@dataclass(frozen=True, slots=True)
class Received:
    """The event is durably stored; `duplicate` where it was before."""

    event_id: str
    duplicate: bool


def receive(
    body: bytes, *, signature: str, correlation_id: str, now: datetime, real_now: datetime
) -> Received:
    """Store a signed body as a job and nudge a worker.

    What is signed and is no event of ours is stored as ignored: refusing it would
    make Stripe send it again for days. Raises SignatureInvalid, storing nothing.
    """
    if not verify_signature(body, signature, settings.STRIPE_WEBHOOK_SECRETS):
        raise SignatureInvalid
    arrival = events.from_bytes(body, now=now)
    pk = inbox.put(arrival, correlation_id=correlation_id, now=now, real_now=real_now)
    metrics.WEBHOOKS.labels(_outcome(arrival, is_new=pk is not None)).inc()
    if arrival.refused:
        logger.error("webhook_refused", event_id=arrival.event_id, reason=arrival.refused)
    elif pk is not None and arrival.type in HANDLERS:
        # Autocommit: the row is there. A message nobody hears is made good by the sweeper.
        ring(process, pk)
    return Received(arrival.event_id, duplicate=pk is None)


def _outcome(arrival: events.Arrival, *, is_new: bool) -> str:
    if not is_new:
        return "duplicate"
    if arrival.refused:
        return "refused"
    return "received" if arrival.type in HANDLERS else "ignored"
