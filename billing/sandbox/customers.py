"""Customers: create, retrieve, update, delete, list, search by metadata."""

import re
from typing import Any

from psycopg import sql

from billing.sandbox import cards
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.shapes import Obj, new, notes
from billing.sandbox.store import Store

_PLAIN = ("email", "name", "description", "phone", "balance", "preferred_locales", "tax_exempt")
_CLAUSE = re.compile(
    r"""^(?:metadata\[(['"])(?P<key>.+?)\1\]|(?P<field>email|name))
    \s*:\s*(['"])(?P<value>.*)\4$""",
    re.VERBOSE,
)
_AND = re.compile(r"\s+AND\s+")


def merged(old: dict[str, str] | None, given: Any) -> dict[str, str]:
    """Merge metadata per key; an empty text deletes the key, `""` for all clears."""
    if given == "":
        return {}
    kept = {**(old or {}), **(given or {})}
    return {key: value for key, value in kept.items() if value != ""}


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """Make a customer; with `SANDBOX_AUTO_CARD` it has a card that works."""
    customer = new("customer", created=store.at, **_given(params))
    customer["invoice_prefix"] = customer["id"][-8:].upper()
    customer["metadata"] = merged({}, params.get("metadata"))
    store.put(customer, "customer.created")
    method = params.get("payment_method")
    if method is None and store.setting("auto_card", store.config.auto_card):
        method = cards.DEFAULT
    if method:
        attached = cards.attach(store, method, customer)
        customer["invoice_settings"]["default_payment_method"] = attached["id"]
    _apply_invoice_settings(store, customer, params)
    return store.put(customer, "customer.updated")


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """Return the customer; a deleted one is 200 with `deleted: true`."""
    found = store.get("customer", ids["id"])
    return _tombstone(found) if found.get("deleted") else found


def update(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """Change what is given, keep the rest."""
    customer = store.customer(ids["id"], param=None)
    customer.update(_given(params))
    if "metadata" in params:
        customer["metadata"] = merged(customer["metadata"], params["metadata"])
    _apply_invoice_settings(store, customer, params)
    return store.put(customer, "customer.updated")


def delete(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """Delete for good: running subscriptions end, the id answers as deleted."""
    from billing.sandbox import subscriptions  # customers and subscriptions know each other

    customer = store.customer(ids["id"], param=None)
    for subscription in store.all("subscription", customer=customer["id"]):
        if subscription["status"] not in subscriptions.ENDED:
            subscriptions.end(store, subscription, reason="cancellation_requested")
    store.emit("customer.deleted", customer)
    customer["deleted"] = True
    store.put(customer)
    return _tombstone(customer)


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """List customers, newest first."""
    where = {"email": params["email"]} if "email" in params else {}
    alive = [sql.SQL("NOT data ? 'deleted'")]
    return store.listing("customer", params, "/v1/customers", where=where, conditions=alive)


def search(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """Find by `metadata['key']:'value'`, `email:` or `name:`, joined by AND."""
    where: Obj = {"metadata": {}}
    for clause in _AND.split(params["query"].strip()):
        match = _CLAUSE.match(clause)
        if match is None:
            raise invalid("We were unable to parse your search query.", param="query")
        value = re.sub(r"\\(.)", r"\1", match["value"])
        if match["key"]:
            where["metadata"][match["key"]] = value
        else:
            where[match["field"]] = value
    alive = [sql.SQL("NOT data ? 'deleted'")]
    found = store.listing(
        "customer", {"limit": params.get("limit", 10)}, "", where=where, conditions=alive
    )
    return {
        "object": "search_result",
        "data": found["data"],
        "has_more": found["has_more"],
        "next_page": None,
        "url": "/v1/customers/search",
    }


def default_method(store: Store, customer: Obj, subscription: Obj | None = None) -> Obj | None:
    """Return the payment method that a charge would use: subscription's, then customer's."""
    settings = customer["invoice_settings"]
    for id_ in (
        (subscription or {}).get("default_payment_method"),
        settings["default_payment_method"],
    ):
        method = store.find(id_) if id_ else None
        if method is not None and method["customer"] == customer["id"]:
            return method
    return None


def _given(params: dict[str, Any]) -> dict[str, Any]:
    given = {name: params[name] for name in _PLAIN if name in params}
    for name in ("address", "shipping"):
        if name in params:
            given[name] = params[name] or None
    return {name: None if value == "" else value for name, value in given.items()}


def _apply_invoice_settings(store: Store, customer: Obj, params: dict[str, Any]) -> None:
    settings = params.get("invoice_settings", {})
    for name in ("custom_fields", "footer"):
        if name in settings:
            customer["invoice_settings"][name] = settings[name] or None
    if "default_payment_method" not in settings:
        return
    param = "invoice_settings[default_payment_method]"
    id_ = settings["default_payment_method"]
    if id_ in cards.CARDS:
        method = next(
            (
                m
                for m in store.all("payment_method", customer=customer["id"])
                if notes(m).get("card") == id_
            ),
            None,
        )
    else:
        method = store.get("payment_method", id_, param=param)
    if method is None or method["customer"] != customer["id"]:
        raise StripeFault(
            "The customer does not have a payment method with the ID "
            f"{id_}. The payment method must be attached to the customer.",
            code="resource_missing",
            param=param,
        )
    customer["invoice_settings"]["default_payment_method"] = method["id"]


def own_card(store: Store, customer_id: str, id_: str, *, param: str) -> str | None:
    """Return the id of a card that the customer has; None for none. Raises StripeFault."""
    if not id_:
        return None
    method = store.get("payment_method", id_, param=param)
    if method["customer"] != customer_id:
        raise StripeFault(
            "The customer does not have that payment method.",
            code="resource_missing",
            param=param,
        )
    return str(method["id"])


def _tombstone(customer: Obj) -> Obj:
    return {"id": customer["id"], "object": "customer", "deleted": True}
