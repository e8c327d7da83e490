"""What the quota routes take and answer."""

from typing import Annotated

from msgspec import Meta

from config.contract.bodies import Answer, Body
from config.contract.codes import Code
from config.contract.fields import (
    Instant,
    MetricCode,
    NamedOrg,
    OrgId,
    Overage,
    PeriodKey,
    Remaining,
    Status,
)


class CheckBody(Body):
    """May `value` units of `metric` be used? `soft` answers 200 even where the answer is no."""

    org_id: NamedOrg
    metric: MetricCode
    value: Annotated[int, Meta(ge=1, le=2**53 - 1)] = 1
    soft: bool = False


class CheckAnswer(Answer):
    """The decision. `code` and `resetsAt` only where it is a soft no."""

    allow: bool
    remaining: Remaining
    period_key: PeriodKey | None = None
    code: Code | None = None
    resets_at: Instant | None = None


class MetricEntitlement(Answer, omit_defaults=False):
    """What is included and used of one metric."""

    included_units: int
    used: int
    remaining: Remaining
    overage: Overage


class ScheduledChangeAnswer(Answer, omit_defaults=False):
    """A plan that takes over by itself."""

    new_plan_code: str
    effective_at: Instant


class EntitlementAnswer(Answer, omit_defaults=False):
    """What an organisation may use now, and what it has used. The numbers on top are `api_call`."""

    plan_code: str
    included_units: int
    used: int
    remaining: Remaining
    period_key: PeriodKey
    period_start: Instant
    period_end: Instant
    status: Status
    trial_ends_at: Instant | None
    scheduled_change: ScheduledChangeAnswer | None
    metrics: dict[str, MetricEntitlement]


class ResetBody(Body):
    """Whose quota to reset; `force` forgives what was used and needs a reason and names."""

    dry_run: bool = False
    org_ids: Annotated[list[NamedOrg], Meta(max_length=1000)] = []
    metric: MetricCode | None = None
    force: bool = False
    reason: Annotated[str, Meta(max_length=500)] = ""


class Overwritten(Answer, omit_defaults=False):
    """What a forced reset takes off the books of one counter."""

    org_id: OrgId
    metric: str
    used: int


class ResetAnswer(Answer):
    """`updated` counters touched now, `queued` organisations left to a worker.

    `wouldForgive` only in a dry run: what the reset would take off the books.
    """

    updated: int
    queued: int
    period_key: PeriodKey
    dry_run: bool
    would_forgive: list[Overwritten] | None = None
