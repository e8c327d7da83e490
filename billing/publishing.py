"""Making at Stripe what the plans are sold at: products, prices, and meters for overage.

A price at Stripe never changes. One that costs something else than the catalogue
says is left to those who are on it, and a new one takes its lookup key over.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

from uuid_utils.compat import uuid7

from billing import catalogue
from billing.models import Plan
from billing.prices import overage_key
from billing.stripe_gateway import Gateway
from config.contract.clients import clients

Json = dict[str, Any]


def publish(*, dry_run: bool) -> Iterator[str]:
    """Make what is missing at Stripe, yielding each thing in words. Safe to repeat.

    Raises the gateway's errors. No transaction open.
    """
    gateway: Gateway = clients.stripe
    products = {(one["metadata"] or {}).get("plan_code"): one for one in gateway.list_products()}
    meters = {one["event_name"]: one["id"] for one in gateway.list_meters()}
    for plan in catalogue.on_sale():
        product = products.get(plan.code)
        if product is None:
            yield f"product {plan.code}"
            if not dry_run:
                product = gateway.create_product(
                    product_id=f"prod_{plan.code}",
                    name=plan.name,
                    plan_code=plan.code,
                    idempotency_key=_key(),
                )
        product_id = product["id"] if product else ""
        yield from _price(gateway, plan, product_id, plan.code, Decimal(plan.amount), dry_run)
        for one in plan.metered_allowances():
            if one.metric not in meters:
                yield f"meter {one.metric}"
                meters[one.metric] = "" if dry_run else _meter(gateway, one.metric)
            each = one.overage_unit_amount or Decimal(0)
            key, meter = overage_key(plan.code, one.metric), meters[one.metric]
            yield from _price(gateway, plan, product_id, key, each, dry_run, meter=meter)


def _price(
    gateway: Gateway,
    plan: Plan,
    product_id: str,
    key: str,
    amount: Decimal,
    dry_run: bool,
    meter: str | None = None,
) -> Iterator[str]:
    held = gateway.find_price(lookup_key=key)
    if held is not None and _is_right(held, plan, amount, meter):
        return
    said = f"{amount.normalize():f}"
    yield f"price {key} at {said} {plan.currency} per {'unit' if meter is not None else 'period'}"
    if dry_run:
        return
    interval: Literal["month", "year"] = "year" if plan.interval == "year" else "month"
    gateway.create_price(
        product_id=product_id,
        lookup_key=key,
        amount=said,
        currency=plan.currency,
        interval=interval,
        meter_id=meter,
        idempotency_key=_key(),
    )


def _is_right(price: Json, plan: Plan, amount: Decimal, meter: str | None) -> bool:
    recurring = price["recurring"] or {}
    held = price["unit_amount_decimal"] or price["unit_amount"]
    return (
        held is not None
        and Decimal(held) == amount
        and price["currency"] == plan.currency
        and (recurring.get("interval"), recurring.get("interval_count")) == (plan.interval, 1)
        and recurring.get("usage_type") == ("licensed" if meter is None else "metered")
        and (meter is None or recurring.get("meter") == meter)
    )


def _meter(gateway: Gateway, metric: str) -> str:
    made = gateway.create_meter(event_name=metric, display_name=metric, idempotency_key=_key())
    found: str = made["id"]
    return found


def _key() -> str:
    # Looked for before it is made, each time: a key of its name would answer with
    # an older price of the same amount for a day.
    return f"publish:{uuid7()}"
