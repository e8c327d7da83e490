"""Products, prices and meters; and the copy of the plan catalogue kept in them.

Ids are made from the plan code, so a reset or a second start finds the same
objects. A changed amount is a new price that takes the lookup key over, as it
has to be at Stripe, where the amount of a price never changes.
"""

import json
from typing import Any

from billing.sandbox.customers import merged
from billing.sandbox.errors import invalid
from billing.sandbox.shapes import Obj, new
from billing.sandbox.store import Store

_PRODUCT = (
    "active",
    "description",
    "name",
    "images",
    "unit_label",
    "url",
    "tax_code",
    "statement_descriptor",
    "shippable",
    "marketing_features",
)
_PRICE = (
    "active",
    "billing_scheme",
    "currency",
    "lookup_key",
    "nickname",
    "tax_behavior",
    "tiers_mode",
    "transform_quantity",
)


def sync(store: Store) -> None:
    """Make products, prices and meters of the plan catalogue; safe to repeat."""
    plans = json.loads(store.config.plans_path.read_text(encoding="utf-8"))["plans"]
    for plan in plans:
        code = plan["planCode"]
        product = _synced(
            store,
            "product",
            f"prod_{code}",
            name=plan["name"],
            metadata={"plan_code": code},
            updated=store.at,
        )
        interval = plan["interval"]
        _synced(
            store,
            "price",
            f"price_{code}_{plan['amount']}{plan['currency']}_{interval}",
            **_amounts(str(plan["amount"])),
            currency=plan["currency"],
            lookup_key=code,
            product=product["id"],
            metadata={"plan_code": code},
            recurring=_recurring({"interval": interval}),
        )
        for metric, rule in plan["metrics"].items():
            if rule["overageUnitAmount"] is not None and interval == "month":
                _sync_overage(store, plan, metric, rule["overageUnitAmount"], product["id"])


def _sync_overage(store: Store, plan: Obj, metric: str, amount: str, product: str) -> None:
    meter = _synced(
        store,
        "billing.meter",
        f"mtr_test_{metric}",
        display_name=metric,
        event_name=metric,
        updated=store.at,
    )
    code = f"{plan['planCode']}.{metric}.overage"
    recurring = {"interval": plan["interval"], "usage_type": "metered", "meter": meter["id"]}
    _synced(
        store,
        "price",
        f"price_{code.replace('.', '_')}_{amount.replace('.', 'p')}",
        **_amounts(amount),
        currency=plan["currency"],
        lookup_key=code,
        product=product,
        metadata={"plan_code": plan["planCode"], "metric": metric},
        recurring=_recurring(recurring),
    )


def _synced(store: Store, kind: str, id_: str, **fields: Any) -> Obj:
    found = store.find(id_)
    if found is not None and (kind != "price" or found["lookup_key"]):
        return found
    if found is not None:
        # Sold at this amount again.
        found.update(active=True, lookup_key=fields["lookup_key"])
        _take_over_key(store, found)
        return store.put(found, "price.updated")
    made = new(kind, id=id_, created=store.at, **fields)
    if kind == "price":
        _take_over_key(store, made)
    # No event: an account's catalogue is there before anybody listens.
    return store.put(made)


def _take_over_key(store: Store, price: Obj) -> None:
    for other in store.all("price", where={"lookup_key": price["lookup_key"]}):
        if other["id"] != price["id"]:
            store.put({**other, "lookup_key": None}, "price.updated")


def _amounts(decimal: str) -> Obj:
    whole = int(decimal) if decimal.isdigit() else None
    return {"unit_amount": whole, "unit_amount_decimal": decimal}


def _recurring(given: Obj) -> Obj:
    return {
        "interval_count": 1,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
        **given,
    }


# Products


def create_product(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/products; the id may be chosen."""
    if "id" in params and store.find(params["id"]) is not None:
        raise invalid("Product already exists.", code="resource_already_exists", param="id")
    given = {name: params[name] for name in ("id", *_PRODUCT) if name in params}
    product = new("product", created=store.at, updated=store.at, **given)
    product["metadata"] = merged({}, params.get("metadata"))
    return store.put(product, "product.created")


def update_product(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/products/{id}."""
    product = store.get("product", ids["id"])
    changed = {**product, **{name: params[name] for name in _PRODUCT if name in params}}
    if "metadata" in params:
        changed["metadata"] = merged(product["metadata"], params["metadata"])
    if "default_price" in params:
        changed["default_price"] = store.get(
            "price", params["default_price"], param="default_price"
        )["id"]
    changed["updated"] = store.at
    return store.put(changed, "product.updated")


def list_products(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/products."""
    found = {"active": params["active"]} if "active" in params else {}
    return store.listing("product", params, "/v1/products", where=found)


def retrieve(kind: str) -> Any:
    """Return the handler that answers with one object of the kind."""

    def handler(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
        return store.get(kind, ids["id"])

    return handler


# Prices


def create_price(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/prices: recurring, licensed or metered; tiers as given."""
    price = new(
        "price", created=store.at, **{name: params[name] for name in _PRICE if name in params}
    )
    price["metadata"] = merged({}, params.get("metadata"))
    price["product"] = _product_of(store, params)
    if "recurring" in params:
        price["recurring"] = _recurring(params["recurring"])
        if price["recurring"]["usage_type"] == "metered":
            if not price["recurring"]["meter"]:
                raise invalid("Metered prices must be backed by a meter.", param="recurring[meter]")
            store.get("billing.meter", price["recurring"]["meter"], param="recurring[meter]")
    else:
        price["type"] = "one_time"
    if "tiers" in params:
        price["tiers"] = [_tier(tier) for tier in params["tiers"]]
    elif "unit_amount_decimal" in params:
        price.update(_amounts(format(params["unit_amount_decimal"], "f")))
    elif "unit_amount" in params:
        price.update(_amounts(str(params["unit_amount"])))
    else:
        raise invalid(
            "One of unit_amount, unit_amount_decimal or tiers is required.",
            code="parameter_missing",
            param="unit_amount",
        )
    _claim_key(store, price, transfer=params.get("transfer_lookup_key", False))
    return store.put(price, "price.created")


def update_price(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/prices/{id}; amounts never change."""
    price = store.get("price", ids["id"])
    for name in ("active", "nickname", "tax_behavior", "lookup_key"):
        if name in params:
            price[name] = params[name] if params[name] != "" else None
    if "metadata" in params:
        price["metadata"] = merged(price["metadata"], params["metadata"])
    if "lookup_key" in params:
        _claim_key(store, price, transfer=params.get("transfer_lookup_key", False))
    return store.put(price, "price.updated")


def list_prices(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/prices by lookup keys, product, activity."""
    from psycopg import sql

    where: Obj = {
        name: params[name] for name in ("active", "product", "currency", "type") if name in params
    }
    conditions: list[sql.Composable] = []
    values: dict[str, Any] = {}
    if "lookup_keys" in params:
        conditions.append(sql.SQL("data->>'lookup_key' = ANY(%(keys)s)"))
        values["keys"] = params["lookup_keys"]
    return store.listing(
        "price", params, "/v1/prices", where=where, conditions=conditions, values=values
    )


def _product_of(store: Store, params: dict[str, Any]) -> str:
    if "product_data" in params:
        given = params["product_data"]
        return str(create_product(store, given, {})["id"])
    if "product" not in params:
        raise invalid("Missing required param: product.", code="parameter_missing", param="product")
    return str(store.get("product", params["product"], param="product")["id"])


def _claim_key(store: Store, price: Obj, *, transfer: bool) -> None:
    if not price["lookup_key"]:
        return
    taken = [
        p
        for p in store.all("price", where={"lookup_key": price["lookup_key"]})
        if p["id"] != price["id"]
    ]
    if taken and not transfer:
        raise invalid("A price already uses that lookup key.", param="lookup_key")
    _take_over_key(store, price)


def _tier(given: Obj) -> Obj:
    tier: Obj = {
        "flat_amount": None,
        "flat_amount_decimal": None,
        "unit_amount": None,
        "unit_amount_decimal": None,
        "up_to": None,
    }
    for name, value in given.items():
        if name.endswith("_decimal"):
            tier[name] = format(value, "f")
        elif value != "inf":
            tier[name] = value
            if name != "up_to":
                tier[f"{name}_decimal"] = str(value)
    return tier
