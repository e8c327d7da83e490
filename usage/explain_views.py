"""HTTP door of the explanations."""

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import instant, parse_query
from config.contract.errors import ValidationFailed
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenOrStaffAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope_or_staff
from tokens.principals import StaffPrincipal
from usage.explaining.bodies import ExplainAnswer, ExplainQuery, answer
from usage.explaining.service import explain


class ExplainViewSet(ContractViewSet):
    """GET /api/quota/explain."""

    authentication_classes = [TokenOrStaffAuthentication]
    permission_classes = [needs_scope_or_staff(scopes.ENTITLEMENTS_READ, "quotas.view_denial")]

    @documented(
        summary="Why was this allowed or denied?",
        tag="quota",
        description=(
            "For a metric at an instant (default: now), or for a request: by its `x-request-id`,"
            " its `x-correlation-id`, or the `request_id` of the use it reported."
        ),
        query=ExplainQuery,
        answer=ExplainAnswer,
        answer_example={
            "orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C",
            "metric": "api_call",
            "at": "2026-11-22T10:00:00Z",
            "value": 1,
            "allow": False,
            "code": "RATE_LIMITED",
            "rule": "included_units_spent",
            "planCode": "starter",
            "status": "active",
            "statusSince": "2026-11-01T10:00:00Z",
            "statusBecause": "customer.subscription.updated evt_1",
            "includedUnits": 10500,
            "adjustments": 500,
            "forgiven": 0,
            "used": 10500,
            "remaining": 0,
            "overage": "block",
            "periodKey": "2026-11",
            "resetsAt": "2026-12-01T00:00:00Z",
            "endsAt": None,
            "scheduledChange": None,
            "suspendedAt": None,
            "decidedBy": "copy",
            "requestId": "req-7",
            "correlationId": "checkout-4711",
            "voidedAt": None,
            "sentences": ["Denied: all included units of api_call were used."],
            "notKnown": [],
        },
    )
    def retrieve(self, request: Request) -> HttpResponse:
        """Return the rule that decided, the numbers, and what set the status."""
        asked = parse_query(ExplainQuery, request)
        if asked.correlation_id and asked.request_id:
            raise ValidationFailed({"requestId": ["Give one id"]})
        at = instant(asked.at, field="at") if asked.at is not None else None
        explanation = explain(
            now=clock.now(),
            org_id=_organisation(request, asked.org_id),
            metric=asked.metric,
            at=at,
            quoted=asked.correlation_id or asked.request_id,
        )
        return success(answer(explanation))


def _organisation(request: Request, named: str | None) -> str | None:
    """Return whose decisions may be asked for; None where staff name nobody."""
    if isinstance(request.user, StaffPrincipal):
        return named or request.headers.get(settings.TENANT_HEADER)
    return acting_for(http(request), caller_of(request), named).org_id
