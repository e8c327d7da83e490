"""HTTP doors of entitlements and the quota check."""

from django.http import HttpResponse
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse, rfc3339
from config.contract.errors import NotFound
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from quotas import catalogue, queries
from quotas.bodies import (
    CheckAnswer,
    CheckBody,
    EntitlementAnswer,
    MetricEntitlement,
    ScheduledChangeAnswer,
)
from quotas.check import check
from quotas.errors import PaymentRequired
from quotas.models import Entitlement
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope
from tokens.throttles import HotThrottle


class QuotaViewSet(ContractViewSet):
    """POST /api/quota/check."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.USAGE_WRITE, scopes.ENTITLEMENTS_READ)]
    throttle_classes = [HotThrottle]

    @documented(
        summary="May this be used?",
        tag="quota",
        body=CheckBody,
        body_example={
            "orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C",
            "metric": "api_call",
            "value": 1,
        },
        answer=CheckAnswer,
        answer_example={"allow": True, "remaining": 9999, "periodKey": "2026-11"},
        rate_limited=True,
        errors=(402, 429),
    )
    def check(self, request: Request) -> HttpResponse:
        """Decide, and count nothing."""
        body = parse(CheckBody, request)
        metric = catalogue.require(body.metric)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        now = clock.now()
        try:
            decision = check(
                org_id=caller.org_id, metric=metric, value=body.value, now=now, held=caller.copy
            )
        except PaymentRequired as refusal:
            if not body.soft:
                raise
            return success(CheckAnswer(allow=False, remaining=0, code=refusal.code))
        if body.soft and not decision.allow:
            return success(
                CheckAnswer(
                    allow=False,
                    remaining=0,
                    code=decision.code,
                    resets_at=rfc3339(decision.numbers.resets_at),
                ),
                headers=decision.headers(now),
            )
        decision.or_raise(now)
        return success(
            CheckAnswer(
                allow=True,
                remaining=decision.numbers.remaining,
                period_key=decision.numbers.period_key,
            ),
            headers=decision.headers(now),
        )


class EntitlementViewSet(ContractViewSet):
    """GET /api/me/entitlements."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.ENTITLEMENTS_READ)]

    @documented(
        summary="What the organisation may use",
        tag="quota",
        answer=EntitlementAnswer,
        answer_example={
            "planCode": "starter",
            "includedUnits": 10000,
            "used": 1,
            "remaining": 9999,
            "periodKey": "2026-11",
            "periodStart": "2026-11-01T00:00:00Z",
            "periodEnd": "2026-12-01T00:00:00Z",
            "status": "trialing",
            "trialEndsAt": "2026-12-06T10:00:00Z",
            "scheduledChange": None,
            "metrics": {
                "api_call": {
                    "includedUnits": 10000,
                    "used": 1,
                    "remaining": 9999,
                    "overage": "block",
                }
            },
        },
    )
    def retrieve(self, request: Request) -> HttpResponse:
        """Return plan, status, period and numbers as of now."""
        caller = acting_for(http(request), caller_of(request), None)
        now = clock.now()
        found = queries.current_entitlement(org_id=caller.org_id, now=now)
        if found is None:
            raise NotFound
        headline, entitlement = found.headline, found.entitlement
        return success(
            EntitlementAnswer(
                plan_code=found.plan_code,
                included_units=headline.included,
                used=headline.used,
                remaining=headline.remaining,
                period_key=found.period.key,
                period_start=rfc3339(found.period.start),
                period_end=rfc3339(found.period.end),
                status=entitlement.status,
                trial_ends_at=(
                    rfc3339(entitlement.trial_ends_at) if entitlement.trial_ends_at else None
                ),
                scheduled_change=(
                    _scheduled(entitlement) if found.plan_code == entitlement.plan_code else None
                ),
                metrics={
                    metric: MetricEntitlement(
                        included_units=use.included,
                        used=use.used,
                        remaining=use.remaining,
                        overage=use.overage,
                    )
                    for metric, use in found.metrics.items()
                },
            )
        )


def _scheduled(entitlement: Entitlement) -> ScheduledChangeAnswer | None:
    if entitlement.scheduled_at is None:
        return None
    return ScheduledChangeAnswer(
        new_plan_code=entitlement.scheduled_plan_code,
        effective_at=rfc3339(entitlement.scheduled_at),
    )
