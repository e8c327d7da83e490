"""Discounts: a coupon put on a subscription or one of its items, and what it takes off.

Item discounts come first, then the subscription's, each on what the former left.
A percentage of a subscription's discount is taken of the sum and rounded half up;
what it comes to is shared among the lines by their amounts, the odd minor units
going to the largest remainders. Credits and prorations have no discount of their
own: their amounts are net (`proration_discounts: included`). A `once` coupon ends
with the first invoice that it took something off, and never counts for a part of
a period. A `repeating` one is not counted from its `end` on.
"""

from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

from billing.sandbox import coupons
from billing.sandbox.errors import missing
from billing.sandbox.periods import step
from billing.sandbox.pricing import rounded
from billing.sandbox.shapes import Obj, new, notes
from billing.sandbox.store import Store


def attach(
    store: Store, subscription: Obj, holder: Obj, sources: Any, *, path: str = "discounts"
) -> None:
    """Put the discounts of a request on `holder`, the subscription or one of its items.

    `{discount}` keeps one that is there already; `{coupon}` and `{promotion_code}`
    make one. Nothing is stored: `store_new` does that when the subscription is.
    """
    known = _known(subscription)
    ids: list[str] = []
    for index, source in enumerate(sources or []):
        where = f"{path}[{index}]"
        if "discount" in source:
            if source["discount"] not in known:
                raise missing(
                    "discount", source["discount"], param=f"{where}[discount]", status=400
                )
            ids.append(source["discount"])
            continue
        coupon, promotion = coupons.redeemable(
            store, source, customer=subscription["customer"], path=where
        )
        made = _discount(store, subscription, holder, coupon, promotion)
        known[made["id"]] = made
        ids.append(made["id"])
    holder["discounts"] = ids


def _discount(
    store: Store, subscription: Obj, holder: Obj, coupon: Obj, promotion: Obj | None
) -> Obj:
    months = coupon["duration_in_months"]
    return new(
        "discount",
        customer=subscription["customer"],
        start=store.at,
        end=step(store.at, "month", months) if coupon["duration"] == "repeating" else None,
        promotion_code=promotion["id"] if promotion else None,
        source={"type": "coupon", "coupon": coupon["id"]},
        subscription=subscription["id"],
        subscription_item=holder["id"] if holder is not subscription else None,
        _={"terms": {n: coupon.get(n) for n in ("amount_off", "percent_off", "applies_to")}}
        | {"duration": coupon["duration"]},
    )


def _known(subscription: Obj) -> dict[str, Obj]:
    known: dict[str, Obj] = notes(subscription).setdefault("discounts", {})
    return known


def running(subscription: Obj, ids: list[str], at: int) -> list[Obj]:
    """Return those of the discounts that take something off an invoice made at `at`."""
    known = _known(subscription)
    return [
        known[id_]
        for id_ in ids
        if id_ in known and (known[id_]["end"] is None or at < known[id_]["end"])
    ]


def store_new(store: Store, subscription: Obj) -> None:
    """Store the discounts made since, count their redemption, and forget those taken off."""
    known = _known(subscription)
    used = {
        id_
        for holder in (subscription, *subscription["items"]["data"])
        for id_ in holder["discounts"]
    }
    for id_, discount in list(known.items()):
        if store.find(id_) is None:
            coupons.count_redemption(
                store, discount["source"]["coupon"], discount["promotion_code"]
            )
            store.put(discount, "customer.discount.created", parent=subscription["id"])
        if id_ not in used:
            store.emit("customer.discount.deleted", discount)
            del known[id_]


def take_off(store: Store, subscription: Obj, lines: list[Obj], *, at: int) -> None:
    """Fill in what the discounts take off each line of an invoice made at `at`."""
    open_lines = [line for line in lines if line["discountable"] and line["amount"] > 0]
    holders = {item["id"]: item for item in subscription["items"]["data"]}
    for line in open_lines:
        details = line["parent"]["subscription_item_details"]
        item = holders.get(details["subscription_item"]) if details else None
        for discount in running(subscription, item["discounts"] if item else [], at):
            line["discounts"].append(discount["id"])
            _share(store, discount, [line])
    for discount in running(subscription, subscription["discounts"], at):
        _share(store, discount, open_lines)


def _share(store: Store, discount: Obj, lines: list[Obj]) -> None:
    terms = notes(discount)["terms"]
    if terms["applies_to"]:
        products = terms["applies_to"]["products"]
        lines = [line for line in lines if _product(store, line) in products]
    weights = [net(line) for line in lines]
    total = sum(weights)
    if total <= 0:
        return
    if terms["percent_off"] is not None:
        off = rounded(Decimal(str(terms["percent_off"])) * total / 100)
    else:
        off = min(int(terms["amount_off"]), total)
    for line, amount in zip(lines, _allocated(off, weights), strict=True):
        if amount:
            line["discount_amounts"].append({"amount": amount, "discount": discount["id"]})
            line["pretax_credit_amounts"].append(
                {"amount": amount, "discount": discount["id"], "type": "discount"}
            )


def _product(store: Store, line: Obj) -> str | None:
    details = (line["pricing"] or {}).get("price_details")
    return details and details["product"]


def _allocated(amount: int, weights: list[int]) -> list[int]:
    """Share an amount by weights, the odd units going to the largest remainders."""
    total = sum(weights)
    exact = [Fraction(amount * weight, total) for weight in weights]
    shares = [floor(share) for share in exact]
    order = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for index in order[: amount - sum(shares)]:
        shares[index] += 1
    return shares


def net(line: Obj) -> int:
    """Return a line's amount after discounts, before exclusive tax."""
    amounts: list[int] = [one["amount"] for one in line["discount_amounts"]]
    return int(line["amount"]) - sum(amounts)


def without_once(subscription: Obj) -> Obj:
    """Return the subscription as parts of a period see it: `once` coupons do not count."""
    known = _known(subscription)

    def lasting(holder: Obj) -> Obj:
        ids = [i for i in holder["discounts"] if notes(known[i])["duration"] != "once"]
        return {**holder, "discounts": ids}

    items = subscription["items"]
    return {
        **lasting(subscription),
        "items": {**items, "data": [lasting(item) for item in items["data"]]},
    }


def end_used(subscription: Obj, invoice: Obj, *, at: int) -> None:
    """Take `once` discounts that the invoice used, and those that ended, off their holders."""
    known = _known(subscription)
    used = {
        one["discount"] for line in invoice["lines"]["data"] for one in line["discount_amounts"]
    }
    for holder in (subscription, *subscription["items"]["data"]):
        holder["discounts"] = [
            id_
            for id_ in holder["discounts"]
            if not (id_ in used and notes(known[id_])["duration"] == "once")
            and (known[id_]["end"] is None or at < known[id_]["end"])
        ]
