"""What the quota routes take and answer."""

from typing import Annotated

from msgspec import Meta

from config.contract.bodies import Answer, Body


class CheckBody(Body):
    """May `value` units of `metric` be used? `soft` answers 200 even where the answer is no."""

    org_id: Annotated[str, Meta(min_length=1, max_length=30)]
    metric: Annotated[str, Meta(min_length=1, max_length=64, examples=["api_call"])]
    value: Annotated[int, Meta(ge=1, le=2**53 - 1)] = 1
    soft: bool = False


class CheckAnswer(Answer):
    """The decision. `code` and `resetsAt` only where it is a soft no."""

    allow: bool
    remaining: int
    period_key: str | None = None
    code: str | None = None
    resets_at: str | None = None


class MetricEntitlement(Answer, omit_defaults=False):
    """What is included and used of one metric."""

    included_units: int
    used: int
    remaining: int
    overage: str


class ScheduledChangeAnswer(Answer, omit_defaults=False):
    """A plan that takes over by itself."""

    new_plan_code: str
    effective_at: str


class EntitlementAnswer(Answer, omit_defaults=False):
    """What an organisation may use now, and what it has used. The numbers on top are `api_call`."""

    plan_code: str
    included_units: int
    used: int
    remaining: int
    period_key: str
    period_start: str
    period_end: str
    status: str
    trial_ends_at: str | None
    scheduled_change: ScheduledChangeAnswer | None
    metrics: dict[str, MetricEntitlement]


class ResetBody(Body):
    """Whose quota to reset; `force` forgives what was used and needs a reason and names."""

    dry_run: bool = False
    org_ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=30)]], Meta(max_length=1000)
    ] = []
    metric: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    force: bool = False
    reason: Annotated[str, Meta(max_length=500)] = ""


class Overwritten(Answer, omit_defaults=False):
    """What a forced reset takes off the books of one counter."""

    org_id: str
    metric: str
    used: int


class ResetAnswer(Answer):
    """`updated` counters touched now, `queued` organisations left to a worker.

    `wouldForgive` only in a dry run: what the reset would take off the books.
    """

    updated: int
    queued: int
    period_key: str
    dry_run: bool
    would_forgive: list[Overwritten] | None = None
