"""HTTP doors of the ledger."""

import msgspec
from django.http import HttpResponse
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import http
from tokens import scopes
from tokens.permissions import acting_for, caller_of, needs_scope
from tokens.throttles import HotThrottle
from usage.bodies import (
    BatchAnswer,
    BatchBody,
    EventBody,
    EventError,
    EventResult,
    UsageAnswer,
    UsageBody,
)
from usage.ledger import Recorded
from usage.read_views import LedgerViewSet
from usage.services import record_batch, record_usage

BATCH_CAP = 1024 * 1024
_EVENT = {
    "metric": "api_call",
    "value": 1,
    "occurredAt": "2026-11-22T10:00:00Z",
    "request_id": "req-1",
}
_LEFT = {"periodKey": "2026-11", "used": 1, "remaining": 9999}


_MAY_WRITE = needs_scope(scopes.USAGE_WRITE)()


class UsageViewSet(LedgerViewSet):
    """POST /api/v1/usage and /api/v1/usage/batch, beside the reads of the same paths."""

    throttle_classes = [HotThrottle]

    def get_permissions(self) -> list[BasePermission]:
        """Return what the action asks for; made once, since this is a hot route."""
        return [_MAY_WRITE] if self.action in ("create", "batch") else super().get_permissions()

    @documented(
        summary="Record one use",
        tag="usage",
        body=UsageBody,
        body_example={"orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C", **_EVENT},
        answer=UsageAnswer,
        answer_example=_LEFT,
        rate_limited=True,
        replays=True,
        errors=(402, 409),
    )
    def create(self, request: Request) -> HttpResponse:
        """Count one use once, or say no."""
        body = parse(UsageBody, request)
        event = body.event()
        caller = acting_for(http(request), caller_of(request), body.org_id)
        recorded = record_usage(org_id=caller.org_id, event=event)
        headers = recorded.headers(clock.now())
        if recorded.status == "duplicate":
            headers["Idempotent-Replayed"] = "true"
        return success(_answer(recorded), headers=headers)

    @documented(
        summary="Record up to 1,000 uses",
        tag="usage",
        body=BatchBody,
        body_example={"orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C", "events": [_EVENT]},
        answer=BatchAnswer,
        answer_example={
            "accepted": 1,
            "duplicates": 0,
            "rejected": 0,
            "results": [{"request_id": "req-1", "status": "accepted", **_LEFT}],
        },
        shapes=(EventBody,),
    )
    def batch(self, request: Request) -> HttpResponse:
        """Decide each use in input order; a bad one rejects itself alone."""
        body = parse(BatchBody, request, cap=BATCH_CAP)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        outcomes = record_batch(org_id=caller.org_id, documents=body.events, now=clock.now())
        statuses = [outcome.status for outcome in outcomes]
        return success(
            BatchAnswer(
                accepted=statuses.count("accepted"),
                duplicates=statuses.count("duplicate"),
                rejected=statuses.count("rejected"),
                results=[
                    _result(document, outcome)
                    for document, outcome in zip(body.events, outcomes, strict=True)
                ],
            )
        )


def _answer(recorded: Recorded) -> UsageAnswer:
    numbers = recorded.numbers
    assert numbers is not None  # noqa: S101 - or_raise let only counted events through
    return UsageAnswer(
        period_key=numbers.period_key, used=numbers.used, remaining=numbers.remaining
    )


def _result(document: object, outcome: Recorded) -> EventResult:
    request_id = document.get("request_id") if isinstance(document, dict) else None
    if not isinstance(request_id, str) or len(request_id) > 128:
        request_id = None
    if outcome.error is not None:
        return EventResult(
            request_id=request_id,
            status=outcome.status,
            error=EventError(code=outcome.error.code, message=outcome.error.message),
        )
    answer = _answer(outcome)
    return EventResult(
        request_id=request_id, status=outcome.status, **msgspec.structs.asdict(answer)
    )
