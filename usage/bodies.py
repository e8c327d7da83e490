"""What the usage routes take and answer."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from config.contract.bodies import Answer, Body, instant
from quotas import catalogue
from usage.ledger import NewUsageEvent

Units = Annotated[int, Meta(ge=1, le=1_000_000_000, description="Units used.")]
RequestId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        description="The client's own id of this use; a repeat is answered, not counted.",
    ),
]
MetricCode = Annotated[str, Meta(min_length=1, max_length=64, examples=["api_call"])]
Instant = Annotated[
    str, Meta(description="RFC 3339 with an offset, at most microseconds.", max_length=40)
]
OrgId = Annotated[str, Meta(min_length=1, max_length=30)]


class EventBody(Body):
    """One use, as one of a batch."""

    metric: MetricCode
    value: Units
    occurred_at: Instant
    request_id: RequestId = msgspec.field(name="request_id")

    def event(self) -> NewUsageEvent:
        """Return the event. Raises ValidationFailed for an unknown metric or a bad instant."""
        return NewUsageEvent(
            metric=catalogue.require(self.metric),
            value=self.value,
            occurred_at=instant(self.occurred_at, field="occurredAt"),
            request_id=self.request_id,
        )


class UsageBody(EventBody):
    """One use of an organisation."""

    org_id: OrgId = msgspec.field(name="orgId")


class BatchBody(Body):
    """Up to 1,000 uses of one organisation; each is checked alone."""

    org_id: OrgId
    events: Annotated[list[Any], Meta(min_length=1, max_length=1000)]


class UsageAnswer(Answer, omit_defaults=False):
    """The counter as the event left it."""

    period_key: str
    used: int
    remaining: int


class EventError(Answer):
    """Why one event of a batch was not counted."""

    code: str
    message: str


class EventResult(Answer):
    """What became of one event of a batch."""

    request_id: str | None = msgspec.field(name="request_id")
    status: str
    period_key: str | None = None
    used: int | None = None
    remaining: int | None = None
    error: EventError | None = None


class BatchAnswer(Answer, omit_defaults=False):
    """What became of a batch, in input order."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[EventResult]
