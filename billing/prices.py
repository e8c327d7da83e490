"""Which price at Stripe a plan is sold at."""

from decimal import Decimal
from typing import Any

import structlog

from billing.models import Plan
from billing.stripe_gateway import StripeFailed, StripeRefused
from config.contract.clients import clients
from config.contract.errors import ApiError

logger = structlog.get_logger("metergate.billing")


def price_id(plan: Plan) -> str:
    """Return the id of the plan's price, asking Stripe by lookup key the first time.

    The price must cost what the catalogue says. Raises ApiError (502
    STRIPE_ERROR) where Stripe has no such price: `stripe_doctor` shows it.
    """
    if plan.stripe_price_id:
        return plan.stripe_price_id
    price = clients.stripe.find_price(lookup_key=plan.code)
    if price is None or not _sells(price, plan):
        logger.error("price_missing", plan_code=plan.code)
        raise ApiError("STRIPE_ERROR", "The plan cannot be sold right now", 502)
    found: str = price["id"]
    Plan.objects.filter(pk=plan.pk).update(stripe_price_id=found)
    return found


def overage_key(plan_code: str, metric: str) -> str:
    """Return the lookup key of the metered price at which a plan's overage is sold."""
    return f"{plan_code}.{metric}.overage"


def metered_price_ids(plan: Plan) -> list[str]:
    """Return the metered prices beside the plan's own; no call where there are none.

    Raises ApiError (502 STRIPE_ERROR) where Stripe has no such price, or another
    amount: use would go uncharged. `stripe_doctor` shows it, `sync_plans --stripe`
    makes it.
    """
    sold = plan.metered_allowances()
    if not sold:
        return []
    keys = [overage_key(plan.code, one.metric) for one in sold]
    at_stripe = {one["lookup_key"]: one for one in clients.stripe.list_prices(lookup_keys=keys)}
    for key, one in zip(keys, sold, strict=True):
        price = at_stripe.get(key)
        if price is None or Decimal(price["unit_amount_decimal"] or 0) != one.overage_unit_amount:
            logger.error("price_missing", plan_code=plan.code, metric=one.metric)
            raise ApiError("STRIPE_ERROR", "The plan cannot be sold right now", 502)
    return [at_stripe[key]["id"] for key in keys]


def forget_if_refused(plan: Plan, error: StripeFailed | StripeRefused) -> None:
    """Ask by lookup key again next time, where Stripe refused a request for the price it named."""
    if isinstance(error, StripeRefused) and "price" in (error.param or ""):
        logger.error("price_refused", plan_code=plan.code, stripe_price_id=plan.stripe_price_id)
        Plan.objects.filter(pk=plan.pk).update(stripe_price_id="")


def _sells(price: dict[str, Any], plan: Plan) -> bool:
    recurring = price["recurring"] or {}
    return (
        price["unit_amount"] == plan.amount
        and price["currency"] == plan.currency
        and (recurring.get("interval"), recurring.get("interval_count")) == (plan.interval, 1)
        and recurring.get("usage_type") == "licensed"
    )
