"""The shapes of what goes in and out over HTTP."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from config.contract.bodies import Answer, Body


class StripeEventBody(msgspec.Struct):
    """A Stripe event, as far as the intake reads it (documentation; the raw body is verified)."""

    id: str
    object: str
    type: str
    created: int
    livemode: bool
    data: dict[str, Any]


class ReceivedAnswer(Answer):
    """The event is stored. `duplicate` where it was stored before."""

    received: bool
    event_id: str
    duplicate: bool


class ReplayBody(Body):
    """Events to process again, whatever became of them."""

    event_ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=255)]],
        Meta(min_length=1, max_length=500),
    ]


class ReplayAnswer(Answer):
    """How many were queued; which are not known; which were waiting anyway."""

    enqueued: int
    unknown: list[str]
    already_queued: list[str]
