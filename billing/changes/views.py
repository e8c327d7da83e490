"""HTTP doors of plan changes."""

from typing import Any

import msgspec
from django.http import HttpResponse
from msgspec import UNSET
from rest_framework.request import Request

from billing.bodies import (
    CancelBody,
    CheckoutAnswer,
    DowngradeAnswer,
    DowngradeBody,
    KeepPlanAnswer,
    OrgBody,
    PreviewAnswer,
    PreviewBody,
    PreviewItem,
    PreviewQuota,
    QuotaAnswer,
    StateAnswer,
    SubscribeAnswer,
    SubscribeBody,
    UpgradeBody,
)
from billing.changes import services
from billing.changes.engine import Answer
from billing.changes.preview import preview
from config.contract.bodies import parse, parse_query, rfc3339
from config.contract.idempotency import key_of
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope

_ORG = "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"
_QUOTA = {"planCode": "pro", "includedUnits": 100000, "used": 9000, "remaining": 91000}
_ERRORS = (402, 409, 502)


class PreviewViewSet(ContractViewSet):
    """POST /api/plans/preview."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_READ)]

    @documented(
        summary="What a change would cost",
        tag="plans",
        body=PreviewBody,
        body_example={"orgId": _ORG, "planCode": "pro"},
        answer=PreviewAnswer,
        answer_example={
            "amount": 9900,
            "currency": "usd",
            "proration": "always_invoice",
            "prorationDate": 1795428000,
            "items": [],
            "quota": {"includedUnits": 100000, "used": 9000, "remaining": 91000},
        },
        errors=_ERRORS,
    )
    def create(self, request: Request) -> HttpResponse:
        """Ask Stripe; write nothing."""
        body = parse(PreviewBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        found = preview(org_id=caller.org_id, plan_code=body.plan_code, proration=body.proration)
        return success(
            PreviewAnswer(
                amount=found.amount,
                currency=found.currency,
                proration=body.proration,
                proration_date=found.proration_date,
                items=msgspec.convert(found.items, list[PreviewItem]),
                quota=msgspec.convert(found.quota, PreviewQuota),
                ends_at=rfc3339(found.ends_at) if found.ends_at else UNSET,
            )
        )


class PlanChangeViewSet(ContractViewSet):
    """Upgrade, downgrade, cancel, resume, subscribe."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_WRITE)]

    @documented(
        summary="Upgrade now",
        tag="plans",
        body=UpgradeBody,
        body_example={"orgId": _ORG, "newPlanCode": "pro"},
        answer=QuotaAnswer,
        answer_example=_QUOTA,
        keyed=True,
        errors=_ERRORS,
    )
    def upgrade(self, request: Request) -> HttpResponse:
        """Move to a dearer plan now, with proration; the counters are kept."""
        body, org_id, key = _asked(UpgradeBody, request)
        return _answer(
            QuotaAnswer,
            services.upgrade(
                org_id=org_id,
                new_plan_code=body.new_plan_code,
                proration_date=body.proration_date,
                expected_amount=body.expected_amount,
                key=key,
            ),
        )

    @documented(
        summary="Downgrade at the period's end",
        tag="plans",
        body=DowngradeBody,
        body_example={"orgId": _ORG, "newPlanCode": "starter"},
        answer=DowngradeAnswer,
        answer_example={"effectiveAt": "2026-12-22T10:00:00Z", "newPlanCode": "starter"},
        keyed=True,
        errors=_ERRORS,
    )
    def downgrade(self, request: Request) -> HttpResponse:
        """Schedule a cheaper plan; another one rewrites the schedule."""
        body, org_id, key = _asked(DowngradeBody, request)
        return _answer(
            DowngradeAnswer,
            services.downgrade(org_id=org_id, new_plan_code=body.new_plan_code, key=key),
        )

    @documented(
        summary="Take a downgrade back",
        tag="plans",
        query=OrgBody,
        answer=KeepPlanAnswer,
        answer_example={"cancelled": True},
        errors=_ERRORS,
    )
    def keep_plan(self, request: Request) -> HttpResponse:
        """Release the schedule, if there is one."""
        asked = parse_query(OrgBody, request)
        caller = acting_for(http(request), caller_of(request), asked.org_id)
        return _answer(KeepPlanAnswer, services.keep_plan(org_id=caller.org_id))

    @documented(
        summary="Cancel the subscription",
        tag="plans",
        body=CancelBody,
        body_example={"orgId": _ORG, "at": "period_end"},
        answer=StateAnswer,
        answer_example={"status": "active", "endsAt": "2026-12-22T10:00:00Z"},
        keyed=True,
        errors=_ERRORS,
    )
    def cancel(self, request: Request) -> HttpResponse:
        """End it with its period, or now."""
        body, org_id, key = _asked(CancelBody, request)
        return _answer(StateAnswer, services.cancel(org_id=org_id, at=body.at, key=key))

    @documented(
        summary="Resume",
        tag="plans",
        body=OrgBody,
        body_example={"orgId": _ORG},
        answer=StateAnswer,
        answer_example={"status": "active", "endsAt": None},
        keyed=True,
        errors=_ERRORS,
    )
    def resume(self, request: Request) -> HttpResponse:
        """Undo a pending cancellation, or start a paused subscription again."""
        _, org_id, key = _asked(OrgBody, request)
        return _answer(StateAnswer, services.resume(org_id=org_id, key=key))

    @documented(
        summary="Subscribe again",
        tag="plans",
        body=SubscribeBody,
        body_example={"orgId": _ORG, "planCode": "pro"},
        answer=SubscribeAnswer,
        answer_example={**_QUOTA, "status": "active"},
        keyed=True,
        errors=_ERRORS,
    )
    def subscribe(self, request: Request) -> HttpResponse:
        """Begin a new subscription after the last one ended, without a second trial."""
        body, org_id, key = _asked(SubscribeBody, request)
        return _answer(
            SubscribeAnswer, services.subscribe(org_id=org_id, plan_code=body.plan_code, key=key)
        )


class CheckoutPageViewSet(ContractViewSet):
    """POST /api/plans/checkout."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_WRITE)]

    @documented(
        summary="A new payment page",
        tag="plans",
        body=OrgBody,
        body_example={"orgId": _ORG},
        answer=CheckoutAnswer,
        answer_example={"checkoutUrl": "https://checkout.stripe.com/c/pay/cs_live_a1"},
        keyed=True,
        errors=_ERRORS,
    )
    def create(self, request: Request) -> HttpResponse:
        """Open a fresh page for a sign-up by Checkout; the trial's end is kept."""
        _, org_id, key = _asked(OrgBody, request)
        return _answer(
            CheckoutAnswer, services.open_checkout(org_id=org_id, key=key), no_store=True
        )


def _asked(shape: type[Any], request: Request) -> tuple[Any, str, str | None]:
    """Return the body, the organisation the caller may act for, and the Idempotency-Key."""
    key = key_of(http(request))
    body = parse(shape, request)
    caller = acting_for(http(request), caller_of(request), body.org_id)
    return body, caller.org_id, key


def _answer(shape: type[Any], answer: Answer, *, no_store: bool = False) -> HttpResponse:
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    # The stored answer comes back with its keys in another order; the shape's is the answer's.
    return success(msgspec.convert(answer.data, shape), headers=headers, no_store=no_store)
