"""What `GET /api/quota/explain` takes and answers."""

from typing import Annotated

import msgspec
from msgspec import Meta

from config.contract.bodies import Answer, Body, rfc3339
from config.contract.codes import Code
from config.contract.fields import (
    GivenInstant,
    Instant,
    MetricCode,
    NamedOrg,
    OrgId,
    Overage,
    PeriodKey,
    Remaining,
    Status,
    described,
)
from usage.explaining import words
from usage.explaining.shape import Explanation

_Id = Annotated[str, Meta(min_length=1, max_length=128)]


class ExplainQuery(Body):
    """A metric and an instant (default: now), or an id of a request or use that came.

    Staff and operators name the organisation by `orgId` or the tenant header; with
    an id staff need not.
    """

    org_id: NamedOrg | None = None
    metric: MetricCode | None = None
    at: GivenInstant | None = None
    correlation_id: _Id | None = None
    request_id: _Id | None = None


class ScheduledPlan(Answer, omit_defaults=False):
    """A plan that takes over by itself."""

    new_plan_code: str
    effective_at: Instant


class ExplainAnswer(Answer, omit_defaults=False):
    """Why something was or would be allowed or denied. What is null is not known, or is none.

    `includedUnits` counts the adjustments in, as everywhere; `rule` names the rule
    that decided, `sentences` say it all in words. `decidedBy` is where the decision
    was found. `endsAt`: when access ends by time alone.
    """

    org_id: OrgId
    metric: str
    at: Instant
    value: int
    allow: bool | None
    code: Code | None
    rule: str
    plan_code: str | None
    status: Status | None
    status_since: Instant | None
    status_because: str | None
    included_units: int | None
    adjustments: int | None
    forgiven: int | None
    used: int | None
    remaining: Remaining | None
    overage: Overage | None
    period_key: PeriodKey | None
    resets_at: Instant | None
    ends_at: Instant | None
    scheduled_change: ScheduledPlan | None
    suspended_at: Instant | None
    decided_by: Annotated[str, described(enum=["copy", "database"])]
    request_id: str | None
    correlation_id: str | None
    voided_at: Instant | None
    sentences: list[str]
    not_known: list[str]


def answer(explanation: Explanation) -> ExplainAnswer:
    """Return an explanation as the API gives it."""
    standing, figures, request = explanation.standing, explanation.figures, explanation.request
    use = explanation.use
    scheduled = None
    if standing is not None and standing.scheduled_at is not None:
        scheduled = ScheduledPlan(standing.scheduled_plan, rfc3339(standing.scheduled_at))
    request_id = (request.request_id or request.use_id) if request else None
    return ExplainAnswer(
        org_id=explanation.org_id,
        metric=explanation.metric,
        at=rfc3339(explanation.at),
        value=explanation.value,
        allow=explanation.rule.allows,
        code=explanation.rule.code,
        rule=explanation.rule.word,
        plan_code=standing.plan_code if standing else None,
        status=standing.status if standing else None,
        status_since=rfc3339(standing.since) if standing else None,
        status_because=standing.because if standing else None,
        included_units=figures.included if figures else None,
        adjustments=figures.adjusted if figures else None,
        forgiven=figures.forgiven if figures else None,
        used=figures.used if figures else None,
        remaining=figures.remaining if figures else None,
        overage=figures.overage if figures else None,
        period_key=figures.period.key if figures else None,
        resets_at=rfc3339(figures.period.end) if figures else None,
        ends_at=rfc3339(standing.ends_at) if standing and standing.ends_at else None,
        scheduled_change=scheduled,
        suspended_at=rfc3339(explanation.suspended.since) if explanation.suspended else None,
        decided_by=explanation.decided_by,
        request_id=use.event.request_id if use else request_id,
        correlation_id=(request.correlation_id or None) if request else None,
        voided_at=rfc3339(use.void.voided_at) if use and use.void else None,
        sentences=words.sentences(explanation),
        not_known=list(explanation.gaps),
    )


def as_json(explanation: Explanation) -> bytes:
    """Return the same as the API's data, for the command."""
    return msgspec.json.encode(answer(explanation))
