"""HTTP doors of sign-up and the plan catalogue."""

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from billing import catalogue
from billing.bodies import PlanAnswer, PlanMetric, PlansAnswer, SignUpAnswer, SignUpBody
from billing.models import Plan, PlanAllowance
from billing.signup import sign_up
from config.contract.bodies import parse
from config.contract.idempotency import key_of
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from quotas.queries import HEADLINE_METRIC
from tokens.throttles import SignUpThrottle


class SignUpViewSet(ContractViewSet):
    """POST /api/signup."""

    throttle_classes = [SignUpThrottle]

    @documented(
        summary="Sign an organisation up",
        tag="billing",
        body=SignUpBody,
        body_example={"orgName": "Acme", "email": "owner@acme.example"},
        answer=SignUpAnswer,
        answer_example={
            "orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C",
            "planCode": "starter",
            "trialEndsAt": "2026-12-06T10:00:00Z",
            "activationCode": "mgc_4q2v6…",
        },
        keyed=True,
        errors=(402, 409, 429, 502),
        public=True,
    )
    def create(self, request: Request) -> HttpResponse:
        """Start a trial on the starter plan."""
        key = key_of(http(request))
        signed_up = sign_up(asked=parse(SignUpBody, request), key=key)
        return success(
            SignUpAnswer(
                org_id=signed_up.org_id,
                plan_code=signed_up.plan_code,
                trial_ends_at=signed_up.trial_ends_at,
                checkout_url=signed_up.checkout_url,
                activation_code=signed_up.code if settings.SIGNUP_RETURNS_CODE else None,
            ),
            headers={"Idempotent-Replayed": "true"} if signed_up.replayed else None,
            no_store=True,
        )


class PlanViewSet(ContractViewSet):
    """GET /api/plans."""

    @documented(
        summary="The plans on sale",
        tag="billing",
        answer=PlansAnswer,
        answer_example={
            "plans": [
                {
                    "planCode": "starter",
                    "name": "Starter",
                    "amount": 1900,
                    "currency": "usd",
                    "interval": "month",
                    "trialDays": 14,
                    "includedUnits": 10000,
                    "metrics": {
                        "api_call": {
                            "includedUnits": 10000,
                            "overage": "block",
                            "overageUnitAmount": None,
                        }
                    },
                }
            ]
        },
        public=True,
    )
    def list(self, request: Request) -> HttpResponse:
        """Return the catalogue, cheapest first."""
        return success(PlansAnswer(plans=[_plan(plan) for plan in catalogue.on_sale()]))


def _plan(plan: Plan) -> PlanAnswer:
    metrics = {one.metric: _metric(one) for one in plan.metrics.all()}
    headline = metrics.get(HEADLINE_METRIC)
    return PlanAnswer(
        plan_code=plan.code,
        name=plan.name,
        amount=plan.amount,
        currency=plan.currency,
        interval=plan.interval,
        trial_days=plan.trial_days,
        included_units=headline.included_units if headline else 0,
        metrics=metrics,
    )


def _metric(one: PlanAllowance) -> PlanMetric:
    price = one.overage_unit_amount
    return PlanMetric(
        included_units=one.included_units,
        overage=one.overage,
        overage_unit_amount=None if price is None else f"{price.normalize():f}",
    )
