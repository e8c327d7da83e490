"""`expand`: ids become objects, and includable fields appear."""

from copy import deepcopy

from billing.sandbox.errors import invalid
from billing.sandbox.shapes import Obj, notes, page, public
from billing.sandbox.store import Store

#: Fields that hold an id of an object.
_REFERENCES = {
    "charge",
    "customer",
    "latest_charge",
    "latest_invoice",
    "pending_setup_intent",
    "schedule",
    "subscription",
    "default_payment_method",
    "payment_method",
    "invoice",
    "payment_intent",
    "product",
    "default_price",
    "setup_intent",
    "configuration",
    "released_subscription",
    "price",
    "coupon",
    "promotion_code",
}
_DEEPEST = 4


def expanded(store: Store, obj: Obj, paths: list[str]) -> Obj:
    """Return the public object with `paths` filled in. Raises StripeFault for a bad path."""
    shown = deepcopy(obj)
    for path in paths:
        parts = path.split(".")
        if len(parts) > _DEEPEST:
            raise invalid("You cannot expand more than 4 levels.", param="expand")
        _expand(store, shown, parts, path)
    return _clean(shown)


def _expand(store: Store, obj: Obj, parts: list[str], path: str) -> None:
    [name, *rest] = parts
    if name == "data" and obj.get("object") in {"list", "search_result"}:
        for one in obj["data"]:
            _expand(store, one, rest, path)
        return
    if obj.get("object") == "invoice" and name in {"confirmation_secret", "payments"}:
        _include(store, obj, name)
    elif name not in obj or (name not in _REFERENCES and not isinstance(obj[name], dict)):
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    value = obj[name]
    if isinstance(value, str):
        value = store.find(value) or value
        obj[name] = value
    if rest and isinstance(value, dict):
        _expand(store, value, rest, path)


def _include(store: Store, invoice: Obj, name: str) -> None:
    if name == "payments":
        found = store.all("invoice_payment", parent=invoice["id"])
        invoice["payments"] = page(found, f"/v1/invoice_payments?invoice={invoice['id']}")
        return
    secret = notes(invoice).get("client_secret") if invoice["status"] == "open" else None
    invoice["confirmation_secret"] = (
        {"client_secret": secret, "type": "payment_intent"} if secret else None
    )


def _clean(value: Obj) -> Obj:
    """Take our notes out of the object and of everything inside it."""
    shown = public(value)
    for name, below in shown.items():
        if isinstance(below, dict):
            shown[name] = _clean(below)
        elif isinstance(below, list):
            shown[name] = [_clean(one) if isinstance(one, dict) else one for one in below]
    return shown
