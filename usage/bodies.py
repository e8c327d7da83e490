"""What the usage routes take and answer."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from config.contract.bodies import Answer, Body, instant
from config.contract.codes import Code
from config.contract.fields import (
    GivenInstant,
    Instant,
    MetricCode,
    NamedOrg,
    PeriodKey,
    Remaining,
    described,
)
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
EventStatus = Annotated[str, described(enum=["accepted", "duplicate", "rejected"])]


class EventBody(Body):
    """One use, as one of a batch."""

    metric: MetricCode
    value: Units
    occurred_at: GivenInstant
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

    org_id: NamedOrg = msgspec.field(name="orgId")


class BatchBody(Body):
    """Up to 1,000 uses of one organisation; each is checked alone."""

    org_id: NamedOrg
    events: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=1000,
            description="Each an EventBody; one that is not is rejected alone.",
            extra_json_schema={
                "items": {"anyOf": [{"$ref": "#/components/schemas/EventBody"}, {}]}
            },
        ),
    ]


class UsageAnswer(Answer, omit_defaults=False):
    """The counter as the event left it."""

    period_key: PeriodKey
    used: int
    remaining: Remaining


class EventError(Answer):
    """Why one event of a batch was not counted."""

    code: Code
    message: str


class EventResult(Answer):
    """What became of one event of a batch."""

    request_id: str | None = msgspec.field(name="request_id")
    status: EventStatus
    period_key: PeriodKey | None = None
    used: int | None = None
    remaining: Remaining | None = None
    error: EventError | None = None


class BatchAnswer(Answer, omit_defaults=False):
    """What became of a batch, in input order."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[EventResult]


class VoidBody(Body):
    """The event to take back, and why."""

    org_id: NamedOrg
    request_id: RequestId = msgspec.field(name="request_id")
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class EventsQuery(Body):
    """Which events; instants are RFC 3339, `from` inclusive, `to` exclusive."""

    metric: MetricCode | None = None
    start: GivenInstant | None = msgspec.field(name="from", default=None)
    end: GivenInstant | None = msgspec.field(name="to", default=None)
    request_id: RequestId | None = msgspec.field(name="requestId", default=None)
    cursor: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class EventAnswer(Answer):
    """One event of the ledger. The two void fields only where it was taken back."""

    request_id: str = msgspec.field(name="request_id")
    metric: str
    value: int
    occurred_at: Instant
    counted_at: Instant
    recorded_at: Instant
    period_key: PeriodKey
    voided_at: Instant | None = None
    void_reason: str | None = None


class EventsAnswer(Answer, omit_defaults=False):
    """A page of events, newest first."""

    events: list[EventAnswer]
    next_cursor: str | None


class SeriesQuery(Body):
    """Which metric, from when to when (default: this period so far), by hour or day."""

    metric: MetricCode
    start: GivenInstant | None = msgspec.field(name="from", default=None)
    end: GivenInstant | None = msgspec.field(name="to", default=None)
    by: Literal["hour", "day"] = "day"


class PointAnswer(Answer, omit_defaults=False):
    """Units used from `at` on."""

    at: Instant
    used: int


class SeriesAnswer(Answer):
    """One point for each hour or day, empty ones included."""

    points: list[PointAnswer]
