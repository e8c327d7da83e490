"""Subscription items: made, merged with what an update asks for, moved to a period."""

from copy import deepcopy
from typing import Any

from billing.sandbox import terms
from billing.sandbox.customers import merged
from billing.sandbox.errors import invalid, missing
from billing.sandbox.pricing import plan_of
from billing.sandbox.shapes import Obj, new, page, public
from billing.sandbox.store import Store


def recurring_price(store: Store, id_: str, param: str) -> Obj:
    """Return an active recurring price. Raises StripeFault, naming `param`."""
    price = store.get("price", id_, param=param)
    if not price["active"]:
        raise invalid(f"The price specified is inactive: {id_}", param=param)
    if price["recurring"] is None:
        raise invalid("The price specified must be of type=recurring.", param=param)
    return price


def make(store: Store, subscription: str, given: dict[str, Any], path: str) -> Obj:
    """Return a new item for what a request asks for."""
    if "price" not in given:
        raise invalid(
            f"Missing required param: {path}[price].",
            code="parameter_missing",
            param=f"{path}[price]",
        )
    price = recurring_price(store, given["price"], f"{path}[price]")
    item = new("subscription_item", created=store.at, subscription=subscription)
    item["metadata"] = merged({}, given.get("metadata"))
    _set_price(item, price, given.get("quantity"))
    return item


def _set_price(item: Obj, price: Obj, quantity: int | None) -> None:
    item.update(price=public(price), plan=plan_of(price))
    if price["recurring"]["usage_type"] == "metered":
        if quantity is not None:
            raise invalid("Metered items take no quantity.", param="items[0][quantity]")
        item.pop("quantity", None)
    else:
        item["quantity"] = item.get("quantity", 1) if quantity is None else quantity


def listed(subscription: str, items: list[Obj]) -> Obj:
    """Return the `items` of a subscription."""
    return page(items, f"/v1/subscription_items?subscription={subscription}")


def changed(store: Store, subscription: Obj, asked: list[dict[str, Any]]) -> list[Obj]:
    """Return the items after an update. One without `id` is a further item."""
    items = {item["id"]: deepcopy(item) for item in subscription["items"]["data"]}
    for index, given in enumerate(asked):
        path = f"items[{index}]"
        id_ = given.get("id")
        if id_ is None:
            _add(store, subscription, items, given, path)
        elif id_ not in items:
            raise missing("subscription_item", id_, param=f"{path}[id]", status=400)
        elif given.get("deleted"):
            del items[id_]
        else:
            item = items[id_]
            price = item["price"]
            # What it is on may be sold no more; only another has to be.
            if given.get("price", price["id"]) != price["id"]:
                price = recurring_price(store, given["price"], f"{path}[price]")
            _set_price(item, price, given.get("quantity"))
            if "metadata" in given:
                item["metadata"] = merged(item["metadata"], given["metadata"])
            terms.apply_to_item(store, subscription, item, given, path)
    if not items:
        raise invalid("A subscription must have at least one active plan.", param="items")
    found = list(items.values())
    check_together(found, subscription["currency"])
    return found


def _add(
    store: Store, subscription: Obj, items: dict[str, Obj], given: dict[str, Any], path: str
) -> None:
    added = make(store, subscription["id"], given, path)
    terms.apply_to_item(store, subscription, added, given, path)
    if any(item["price"]["id"] == added["price"]["id"] for item in items.values()):
        raise invalid(
            f"Cannot add multiple subscription items with the same plan: {added['price']['id']}",
            param=f"{path}[price]",
        )
    first = subscription["items"]["data"][0]
    for name in ("current_period_start", "current_period_end"):
        added[name] = first[name]
    items[added["id"]] = added


def check_together(items: list[Obj], currency: str) -> None:
    """Raise StripeFault unless the items can be billed on one invoice."""
    if any(item["price"]["currency"] != currency for item in items):
        raise invalid("All prices on a subscription must have the same currency.", param="items")
    if len({interval_of(item) for item in items}) > 1:
        raise invalid(
            "Currently, all plans on a subscription must have the same billing interval.",
            param="items",
        )


def interval_of(item: Obj) -> tuple[str, int]:
    """Return interval and count of an item's price."""
    recurring = item["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def set_period(subscription: Obj, start: int, end: int) -> None:
    """Move every item to the period `[start, end)`."""
    for item in subscription["items"]["data"]:
        item["current_period_start"], item["current_period_end"] = start, end


def period_of(subscription: Obj) -> tuple[int, int]:
    """Return the current period, the same for all our items."""
    first = subscription["items"]["data"][0]
    return first["current_period_start"], first["current_period_end"]
