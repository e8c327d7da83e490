"""Amounts in minor units: whole periods, use, and the parts of a changed period."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import floor

from billing.sandbox.shapes import Obj


def plan_of(price: Obj) -> Obj:
    """Return the price in the older shape that items still carry."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def unit_amount(price: Obj) -> Decimal:
    """Return the price of one unit, possibly a fraction of a minor unit."""
    return Decimal(price["unit_amount_decimal"] or price["unit_amount"] or 0)


def is_metered(price: Obj) -> bool:
    """Whether use, not a quantity, is billed."""
    return bool(price["recurring"]) and price["recurring"]["usage_type"] == "metered"


def amount(price: Obj, quantity: int) -> int:
    """Return what `quantity` costs for one period, half a minor unit rounded up."""
    if price["billing_scheme"] == "tiered":
        return rounded(_tiered(price, quantity))
    return rounded(unit_amount(price) * _packages(price, quantity))


def _packages(price: Obj, quantity: int) -> int:
    """Return how many units are billed, where a price sells so many of them as one."""
    transform = price.get("transform_quantity")
    if transform is None:
        return quantity
    whole, rest = divmod(quantity, int(transform["divide_by"]))
    return whole + 1 if rest and transform["round"] == "up" else whole


def _tiered(price: Obj, quantity: int) -> Decimal:
    total, below = Decimal(0), 0
    for tier in price["tiers"]:
        top = tier["up_to"] if tier["up_to"] is not None else quantity
        inside = max(0, min(quantity, top) - below)
        if price["tiers_mode"] == "volume":
            if quantity <= top:
                return _tier(tier, quantity)
        elif inside:
            total += _tier(tier, inside)
        below = max(below, top)
    return total


def _tier(tier: Obj, units: int) -> Decimal:
    flat = Decimal(tier["flat_amount_decimal"] or tier["flat_amount"] or 0)
    return flat + Decimal(tier["unit_amount_decimal"] or tier["unit_amount"] or 0) * units


def rounded(value: Decimal) -> int:
    """Return whole minor units, half of one rounded up."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def remaining(start: int, end: int, at: int) -> Fraction:
    """Return the exact part of `[start, end)` that is left at `at`, by whole seconds."""
    if end <= start:
        return Fraction(0)
    return Fraction(end - min(max(at, start), end), end - start)


def credit(whole: Fraction, part: Fraction) -> int:
    """Return what is given back for unused time, floored toward minus infinity."""
    return floor(-part * whole)


def debit(whole: Fraction, part: Fraction) -> int:
    """Return what the remaining time costs, floored toward minus infinity."""
    return floor(part * whole)


def full(price: Obj, quantity: int) -> Fraction:
    """Return the exact price of a whole period, from which its parts are taken."""
    if price["billing_scheme"] == "tiered":
        return Fraction(_tiered(price, quantity))
    return Fraction(unit_amount(price) * _packages(price, quantity))
