"""Which price at Stripe a plan is sold at."""

import structlog

from billing.models import Plan
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
    if price is None or (price["unit_amount"], price["currency"]) != (plan.amount, plan.currency):
        logger.error("price_missing", plan_code=plan.code)
        raise ApiError("STRIPE_ERROR", "The plan cannot be sold right now", 502)
    found: str = price["id"]
    Plan.objects.filter(pk=plan.pk).update(stripe_price_id=found)
    return found
