"""Tax rates, and the tax on the lines of an invoice.

A line is taxed by its own rates, else by the subscription's default ones, on what
discounts leave of it. Inclusive rates are taken out of the amount, exclusive ones
put on top of what is left without them; each is rounded half up, line by line.
"""

from decimal import Decimal
from typing import Any

from billing.sandbox.customers import merged
from billing.sandbox.errors import invalid
from billing.sandbox.pricing import rounded
from billing.sandbox.shapes import Obj, new, public
from billing.sandbox.store import Store

_RATE = (
    "active",
    "country",
    "description",
    "display_name",
    "inclusive",
    "jurisdiction",
    "percentage",
    "state",
    "tax_type",
)
_REASONS = {"exempt": "customer_exempt", "reverse": "reverse_charge"}


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/tax_rates."""
    if not 0 <= params["percentage"] <= 100:
        raise invalid("Invalid percentage: 0 to 100", param="percentage")
    rate = new(
        "tax_rate",
        created=store.at,
        metadata=merged({}, params.get("metadata")),
        effective_percentage=params["percentage"],
        **{name: params[name] for name in _RATE if name in params},
    )
    return store.put(rate, "tax_rate.created")


def update(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/tax_rates/{id}: what it is called; percentage and kind never change."""
    rate = store.get("tax_rate", ids["id"])
    rate.update({name: params[name] for name in _RATE if name in params})
    if "metadata" in params:
        rate["metadata"] = merged(rate["metadata"], params["metadata"])
    return store.put(rate, "tax_rate.updated")


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/tax_rates."""
    where: Obj = {name: params[name] for name in ("active", "inclusive") if name in params}
    return store.listing("tax_rate", params, "/v1/tax_rates", where=where)


def rates(store: Store, ids: Any, *, param: str) -> list[Obj]:
    """Return the tax rates that a request names. Raises StripeFault for one that is not there."""
    return [
        public(store.get("tax_rate", id_, param=f"{param}[{i}]")) for i, id_ in enumerate(ids or [])
    ]


def blank(rate: Obj) -> Obj:
    """Return the tax of a line by this rate, not yet computed."""
    return {
        "amount": 0,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": "not_available",
        "taxable_amount": 0,
        "type": "tax_rate_details",
    }


def tax(store: Store, customer: Obj, line: Obj, default_rates: list[Obj], *, net: int) -> None:
    """Compute the taxes of a line whose amount after discounts is `net`."""
    taxes = line["taxes"] or [blank(rate) for rate in default_rates]
    line["taxes"] = taxes
    percents = [
        Decimal(str(store.get("tax_rate", one["tax_rate_details"]["tax_rate"])["percentage"]))
        for one in taxes
    ]
    inclusive = sum(
        (p for p, one in zip(percents, taxes, strict=True) if one["tax_behavior"] == "inclusive"),
        Decimal(0),
    )
    base = Decimal(net) * 100 / (100 + inclusive)
    for percent, one in zip(percents, taxes, strict=True):
        one["taxable_amount"] = rounded(base)
        if customer["tax_exempt"] == "none":
            one["amount"] = rounded(base * percent / 100)
        else:
            one["taxability_reason"] = _REASONS[customer["tax_exempt"]]


def of(lines: list[Obj], behavior: str) -> int:
    """Sum the `inclusive` or `exclusive` taxes of lines."""
    return sum(
        one["amount"] for line in lines for one in line["taxes"] if one["tax_behavior"] == behavior
    )


def summed(lines: list[Obj]) -> list[Obj]:
    """Return the taxes of an invoice: those of its lines, by rate."""
    total: dict[str, Obj] = {}
    for line in lines:
        for one in line["taxes"]:
            rate = one["tax_rate_details"]["tax_rate"]
            sum_ = total.setdefault(rate, {**one, "amount": 0, "taxable_amount": 0})
            sum_["amount"] += one["amount"]
            sum_["taxable_amount"] += one["taxable_amount"]
    return list(total.values())
