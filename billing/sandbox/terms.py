"""The terms of a subscription: discounts, taxes, how it is collected, and for whom.

A subscription takes them from a request, and from the phase of a schedule that it
enters. What a request leaves out stays; what a phase leaves out goes, except the
discounts of the customer, of which there are none here. Thresholds and what
concerns Connect are kept and shown; nothing is billed or transferred by them.
"""

from typing import Any

from billing.sandbox import customers, discounts, taxes
from billing.sandbox.errors import invalid
from billing.sandbox.shapes import Obj
from billing.sandbox.store import Store

_INVOICE = ("account_tax_ids", "custom_fields", "description", "footer", "issuer")
#: Terms that are kept as they were sent.
_PLAIN = ("application_fee_percent", "on_behalf_of", "transfer_data")


def apply(store: Store, subscription: Obj, params: dict[str, Any]) -> None:
    """Put the terms of a request on a subscription. Raises StripeFault."""
    for name in _PLAIN:
        if name in params:
            subscription[name] = (
                _transfer(params[name]) if name == "transfer_data" else (params[name] or None)
            )
    if "discounts" in params:
        discounts.attach(store, subscription, subscription, params["discounts"])
    if "default_tax_rates" in params:
        ids = params["default_tax_rates"]
        subscription["default_tax_rates"] = taxes.rates(store, ids, param="default_tax_rates")
    if "automatic_tax" in params:
        subscription["automatic_tax"] = automatic_tax(params["automatic_tax"])
    if "billing_thresholds" in params:
        subscription["billing_thresholds"] = thresholds(params["billing_thresholds"])
    if "invoice_settings" in params:
        settings = invoice_settings(params["invoice_settings"])
        subscription["invoice_settings"] = {**subscription["invoice_settings"], **settings}
    if "pause_collection" in params:
        pause = params["pause_collection"]
        subscription["pause_collection"] = {"resumes_at": None, **pause} if pause else None
    _set_collection(subscription, params)
    _check_tax(subscription)


def _set_collection(subscription: Obj, params: dict[str, Any]) -> None:
    subscription["collection_method"] = params.get(
        "collection_method", subscription["collection_method"]
    )
    sent = subscription["collection_method"] == "send_invoice"
    days = params.get("days_until_due", subscription["days_until_due"] if sent else None)
    if sent != (days is not None):
        raise invalid(
            "days_until_due goes with collection_method=send_invoice, and only with it.",
            param="days_until_due",
        )
    subscription["days_until_due"] = days


def _check_tax(subscription: Obj) -> None:
    rates = [*subscription["default_tax_rates"]]
    rates += [rate for item in subscription["items"]["data"] for rate in item["tax_rates"]]
    if subscription["automatic_tax"]["enabled"] and rates:
        raise invalid(
            "You cannot use tax rates with automatic tax.", param="automatic_tax[enabled]"
        )


def apply_to_item(
    store: Store, subscription: Obj, item: Obj, params: dict[str, Any], path: str
) -> None:
    """Put the terms of an item in a request on it. Raises StripeFault."""
    if "discounts" in params:
        discounts.attach(store, subscription, item, params["discounts"], path=f"{path}[discounts]")
    if "tax_rates" in params:
        item["tax_rates"] = taxes.rates(store, params["tax_rates"], param=f"{path}[tax_rates]")
    if "billing_thresholds" in params:
        item["billing_thresholds"] = params["billing_thresholds"] or None


def automatic_tax(given: Obj) -> Obj:
    """Return a request's automatic tax in the shape of a subscription's."""
    liability = given.get("liability")
    if liability is None and given["enabled"]:
        liability = {"type": "self"}
    return {"disabled_reason": None, "enabled": given["enabled"], "liability": liability}


def thresholds(given: Any) -> Obj | None:
    """Return a request's billing thresholds in the shape of a subscription's."""
    if not given:
        return None
    return {"amount_gte": None, "reset_billing_cycle_anchor": None, **given}


def invoice_settings(given: Obj) -> Obj:
    """Return those of a request's invoice settings that a subscription has."""
    settings = {name: given[name] or None for name in _INVOICE if name in given}
    if "issuer" in settings:
        settings["issuer"] = settings["issuer"] or {"type": "self"}
    return settings


def _transfer(given: Any) -> Obj | None:
    return {"amount_percent": None, **given} if given else None


# Phases of a schedule


def as_phase(subscription: Obj) -> Obj:
    """Return the terms a subscription has, as a phase made from it shows them."""
    settings = subscription["invoice_settings"]
    return {
        **{name: subscription[name] for name in _PLAIN},
        "automatic_tax": subscription["automatic_tax"],
        "billing_thresholds": subscription["billing_thresholds"],
        "collection_method": subscription["collection_method"],
        "default_payment_method": subscription["default_payment_method"],
        "default_tax_rates": subscription["default_tax_rates"],
        "description": subscription["description"],
        "discounts": _as_sources(subscription),
        "invoice_settings": {
            **{name: settings[name] for name in _INVOICE},
            "days_until_due": subscription["days_until_due"],
        },
    }


def as_phase_item(item: Obj) -> Obj:
    """Return an item as a phase made from its subscription shows it."""
    made: Obj = {
        "billing_thresholds": item["billing_thresholds"],
        "discounts": _as_sources(item),
        "metadata": item["metadata"],
        "plan": item["price"]["id"],
        "price": item["price"]["id"],
        "tax_rates": item["tax_rates"],
    }
    return made | ({"quantity": item["quantity"]} if "quantity" in item else {})


def _as_sources(holder: Obj) -> list[Obj]:
    return [
        {"coupon": None, "discount": id_, "promotion_code": None} for id_ in holder["discounts"]
    ]


def phase_terms(store: Store, subscription: Obj, given: dict[str, Any], path: str) -> Obj:
    """Return the terms of a phase as a request describes it; what it leaves out is not there."""
    settings = given.get("invoice_settings")
    tax = given.get("automatic_tax")
    return {
        **{name: given.get(name) or None for name in (*_PLAIN, "description")},
        "automatic_tax": automatic_tax(tax) if tax else None,
        "billing_thresholds": thresholds(given.get("billing_thresholds")),
        "collection_method": given.get("collection_method"),
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": taxes.rates(
            store, given.get("default_tax_rates"), param=f"{path}[default_tax_rates]"
        ),
        "discounts": _sources(store, subscription, given, path),
        "invoice_settings": settings
        and {
            **dict.fromkeys(_INVOICE),
            **invoice_settings(settings),
            "days_until_due": settings.get("days_until_due"),
        },
    }


def phase_item(store: Store, subscription: Obj, price: Obj, given: Obj, path: str) -> Obj:
    """Return an item of a phase as a request describes it."""
    metered = price["recurring"]["usage_type"] == "metered"
    made: Obj = {
        "billing_thresholds": given.get("billing_thresholds") or None,
        "discounts": _sources(store, subscription, given, path),
        "metadata": customers.merged({}, given.get("metadata")),
        "plan": price["id"],
        "price": price["id"],
        "tax_rates": taxes.rates(store, given.get("tax_rates"), param=f"{path}[tax_rates]"),
    }
    return made | ({} if metered else {"quantity": given.get("quantity", 1)})


def _sources(store: Store, subscription: Obj, given: Obj, path: str) -> list[Obj]:
    """Return the discounts of a phase or its item, refusing what is not there to be had."""
    sources = given.get("discounts") or []
    scratch = {**subscription, "discounts": [], "_": {**subscription.get("_", {})}}
    scratch["_"]["discounts"] = dict(scratch["_"].get("discounts", {}))
    discounts.attach(
        store, scratch, {"id": "", "discounts": []}, sources, path=f"{path}[discounts]"
    )
    return [{"coupon": None, "discount": None, "promotion_code": None, **one} for one in sources]


def enter_phase(subscription: Obj, phase: Obj, default: Obj) -> dict[str, Any]:
    """Return the parameters of an update that gives a subscription the terms of a phase."""
    settings = phase["invoice_settings"] or default["invoice_settings"]
    method = phase["collection_method"] or default["collection_method"]
    tax = phase["automatic_tax"] or default["automatic_tax"]
    params = {name: phase[name] or default.get(name) or "" for name in _PLAIN}
    return {
        **params,
        "automatic_tax": {"enabled": tax["enabled"], "liability": tax["liability"]},
        "billing_thresholds": phase["billing_thresholds"] or default["billing_thresholds"] or "",
        "collection_method": method,
        "days_until_due": settings["days_until_due"] if method == "send_invoice" else None,
        "default_payment_method": phase["default_payment_method"]
        or default["default_payment_method"]
        or "",
        "default_tax_rates": [rate["id"] for rate in phase["default_tax_rates"] or []],
        "description": phase["description"] or default["description"] or "",
        "discounts": reused(subscription, subscription, phase["discounts"]),
        "invoice_settings": {name: settings[name] for name in _INVOICE},
    }


def reused(subscription: Obj, holder: Obj, sources: list[Obj]) -> list[Obj]:
    """Return a phase's discounts as a request: one that ended is left out, one there is kept."""
    known = subscription.get("_", {}).get("discounts", {})
    by_source: dict[str, str] = {}
    for id_ in holder["discounts"]:
        discount = known[id_]
        by_source[discount["promotion_code"] or discount["source"]["coupon"]] = id_
    kept: list[Obj] = []
    for source in sources:
        name = source["promotion_code"] or source["coupon"]
        if name in by_source:
            kept.append({"discount": by_source[name]})
        elif name:
            kept.append({key: value for key, value in source.items() if value})
        elif source["discount"] in known:
            kept.append({"discount": source["discount"]})
    return kept
