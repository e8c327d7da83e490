"""Which price at Stripe a plan is sold at."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog

from billing import known_prices
from billing.known_prices import overage_key
from billing.models import Plan
from billing.stripe_gateway import StripeFailed, StripeRefused
from config.contract import clock
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
    if price is None or not sells(price, plan, Decimal(plan.amount)):
        logger.error("price_missing", plan_code=plan.code)
        raise ApiError("STRIPE_ERROR", "The plan cannot be sold right now", 502)
    sell_at(plan, price, now=clock.now())
    return str(price["id"])


def sell_at(plan: Plan, price: dict[str, Any], *, now: datetime) -> None:
    """Sell the plan at this price of Stripe's from `now` on, and remember that it was."""
    known_prices.put_on_sale(price, plan_code=plan.code, now=now)
    # Unless it costs something else meanwhile: then this price is not the plan's any more.
    same = Plan.objects.filter(
        pk=plan.pk, amount=plan.amount, currency=plan.currency, interval=plan.interval
    )
    same.update(stripe_price_id=price["id"])


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
    known = known_prices.by_id(at_stripe[key]["id"] for key in keys)
    for key, one in zip(keys, sold, strict=True):
        price = at_stripe[key]
        row = known.get(price["id"])
        if row is None or row.sold_until is not None:
            known_prices.put_on_sale(price, plan_code=plan.code, metric=one.metric, now=clock.now())
    return [at_stripe[key]["id"] for key in keys]


def forget_if_refused(plan: Plan, error: StripeFailed | StripeRefused) -> None:
    """Ask by lookup key again next time, where Stripe refused a request for the price it named."""
    if isinstance(error, StripeRefused) and "price" in (error.param or ""):
        logger.error("price_refused", plan_code=plan.code, stripe_price_id=plan.stripe_price_id)
        Plan.objects.filter(pk=plan.pk).update(stripe_price_id="")


def sells(
    price: dict[str, Any], plan: Plan, amount: Decimal, *, meter_id: str | None = None
) -> bool:
    """Tell whether a price of Stripe's is what the catalogue sells a plan (or its use) at.

    `amount` is in minor units, per interval or per unit; with `meter_id` it has to
    count by that meter.
    """
    recurring = price["recurring"] or {}
    return (
        known_prices.amount_of(price) == amount
        and price.get("billing_scheme") == "per_unit"
        and price.get("transform_quantity") is None
        and price["currency"] == plan.currency
        and (recurring.get("interval"), recurring.get("interval_count")) == (plan.interval, 1)
        and recurring.get("usage_type") == ("licensed" if meter_id is None else "metered")
        and (meter_id is None or recurring.get("meter") == meter_id)
    )
