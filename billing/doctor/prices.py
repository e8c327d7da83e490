"""What the plans are sold at: an active price of an active product, per unit, as the file says."""

from collections.abc import Iterator
from decimal import Decimal

from django.conf import settings

from billing import catalogue
from billing.doctor.findings import LIVE_KEYS, Finding, judged
from billing.known_prices import overage_key
from billing.models import Plan
from billing.stripe_gateway import Gateway, Json, MeterKey

#: What a price says that `sync_plans --stripe` made: tax is none of its business.
_TAX_BEHAVIOR = "unspecified"


def prices(gateway: Gateway) -> Iterator[Finding]:
    """Look at the price of each plan on sale."""
    plans = catalogue.on_sale()
    if not plans:
        yield Finding("prices", False, "no plan is on sale: run sync_plans")
    at_stripe = _by_lookup_key(gateway, [plan.code for plan in plans])
    products = {one["id"] for one in gateway.list_products()}
    for plan in plans:
        price = at_stripe.get(plan.code)
        faults = ["no active price has this lookup key"] if price is None else []
        if price is not None:
            faults = list(_wrong(price, plan, Decimal(plan.amount), products))
            if plan.stripe_price_id not in ("", price["id"]):
                faults.append(f"{plan.stripe_price_id} is still sold here")
        yield _priced(f"price {plan.code}", price, faults)


def overages(gateway: Gateway) -> Iterator[Finding]:
    """Look at the metered prices of plans that sell past their units, and at their meters."""
    rows = [(plan, one) for plan in catalogue.on_sale() for one in plan.metered_allowances()]
    if not rows:
        return
    at_stripe = _by_lookup_key(gateway, [overage_key(plan.code, one.metric) for plan, one in rows])
    products = {one["id"] for one in gateway.list_products()}
    meters = {one["id"]: one for one in gateway.list_meters()}
    for plan, one in rows:
        key = overage_key(plan.code, one.metric)
        price = at_stripe.get(key)
        faults = ["no active price has this lookup key"] if price is None else []
        if price is not None:
            amount = one.overage_unit_amount or Decimal(0)
            faults = list(_wrong(price, plan, amount, products, usage="metered"))
            meter = meters.get((price["recurring"] or {}).get("meter"))
            counts = meter["event_name"] if meter else "nothing"
            if counts != one.metric:
                faults.append(f"its meter counts {counts}, not {one.metric}")
        yield _priced(f"price {key}", price, faults)
    metrics = {one.metric for _, one in rows}
    for meter in meters.values():
        if meter["event_name"] in metrics:
            yield judged(
                f"meter {meter['event_name']}", list(_wrong_meter(meter)), fine=meter["id"]
            )


def _by_lookup_key(gateway: Gateway, keys: list[str]) -> dict[str, Json]:
    return {one["lookup_key"]: one for one in gateway.list_prices(lookup_keys=keys)}


def _wrong(
    price: Json, plan: Plan, amount: Decimal, products: set[str], *, usage: str = "licensed"
) -> Iterator[str]:
    if price["currency"] != plan.currency:
        yield f"currency {price['currency']}, not {plan.currency}"
    if price["livemode"] != settings.STRIPE_API_KEY.startswith(LIVE_KEYS):
        yield "of the other mode"
    recurring = price["recurring"]
    if not recurring:
        yield "not recurring"
    else:
        every = (recurring["interval_count"], recurring["interval"])
        if every != (1, plan.interval):
            yield f"every {every[0]} {every[1]}, not every {plan.interval}"
        if recurring["usage_type"] != usage:
            yield f"{recurring['usage_type']}, not {usage}"
    if price["billing_scheme"] != "per_unit":
        yield f"{price['billing_scheme']}, not per unit"
    else:
        charged = price["unit_amount_decimal"] or price["unit_amount"]
        if charged is None or Decimal(charged) != amount:
            yield f"amount {charged}, not {amount.normalize():f}"
    if price["transform_quantity"]:
        yield f"transform_quantity: each {price['transform_quantity']['divide_by']} units are one"
    if (price["tax_behavior"] or _TAX_BEHAVIOR) != _TAX_BEHAVIOR:
        yield f"tax behaviour {price['tax_behavior']}, not {_TAX_BEHAVIOR}"
    if price["product"] not in products:
        yield f"its product {price['product']} is archived"


def _wrong_meter(meter: Json) -> Iterator[str]:
    """Yield why a meter would not sum up what we report (Gateway.create_meter_event)."""
    formula = meter["default_aggregation"]["formula"]
    if formula != "sum":
        yield f"aggregates by {formula}, not by sum"
    mapping = meter["customer_mapping"]
    if mapping["event_payload_key"] != MeterKey.CUSTOMER:
        yield f"reads the customer from {mapping['event_payload_key']}, not {MeterKey.CUSTOMER}"
    value = meter["value_settings"]["event_payload_key"]
    if value != MeterKey.VALUE:
        yield f"reads the value from {value}, not {MeterKey.VALUE}"


def _priced(what: str, price: Json | None, faults: list[str]) -> Finding:
    named = [price["id"]] if price else []
    return Finding(what, not faults, "; ".join([*named, *faults]))
