"""Blank objects with every field Stripe sends, to be filled in.

`blanks.json` lists, per object, the fields of 2026-10-28.endive that are always
there; a test holds it to the resource classes of the installed package.
"""

import json
import secrets
import string
from copy import deepcopy
from pathlib import Path
from typing import Any

#: A Stripe object as JSON. The key `_` holds what only the sandbox knows of it.
Obj = dict[str, Any]

_BLANKS: dict[str, Obj] = json.loads(
    (Path(__file__).parent / "blanks.json").read_text(encoding="utf-8")
)
#: Fields that some objects of the kind have and others lack.
_SOMETIMES = {
    "coupon": {"applies_to"},
    "price": {"tiers"},
    "subscription_item": {"quantity"},
    "webhook_endpoint": {"secret"},
}
_PREFIXES = {
    "customer": "cus",
    "subscription": "sub",
    "subscription_item": "si",
    "subscription_schedule": "sub_sched",
    "invoice": "in",
    "line_item": "il",
    "invoiceitem": "ii",
    "invoice_payment": "inpay",
    "payment_intent": "pi",
    "charge": "ch",
    "refund": "re",
    "dispute": "du",
    "credit_note": "cn",
    "credit_note_line_item": "cnli",
    "checkout.session": "cs_test",
    "billing_portal.session": "bps",
    "billing_portal.configuration": "bpc",
    "setup_intent": "seti",
    "payment_method": "pm",
    "product": "prod",
    "price": "price",
    "event": "evt",
    "promotion_code": "promo",
    "discount": "di",
    "tax_rate": "txr",
    "webhook_endpoint": "we",
    "billing.meter": "mtr_test",
    "billing.meter_event": "mev",
}
_ALPHABET = string.ascii_letters + string.digits


def random_text(length: int = 24) -> str:
    """Return unguessable letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_id(kind: str) -> str:
    """Return a fresh id of the kind, with Stripe's prefix."""
    return f"{_PREFIXES[kind]}_{random_text()}"


def new(kind: str, /, **fields: Any) -> Obj:
    """Return an object of `kind`. Raises TypeError for a field Stripe does not have."""
    made = deepcopy(_BLANKS[kind])
    strange = fields.keys() - made.keys() - _SOMETIMES.get(kind, set()) - {"_"}
    if strange:
        raise TypeError(f"{kind} has no {', '.join(sorted(strange))}")
    made.update(fields)
    if "id" in made and not made["id"]:
        made["id"] = new_id(kind)
    return made


def public(obj: Obj) -> Obj:
    """Return what Stripe would show: the object without our own notes.

    Meter events have no id at Stripe; ours is there for the row to have a key.
    """
    hidden = {"_", "id"} if obj.get("object") == "billing.meter_event" else {"_"}
    return {name: value for name, value in obj.items() if name not in hidden}


def notes(obj: Obj) -> Obj:
    """Return (and make) the place for what only the sandbox knows of the object."""
    kept: Obj = obj.setdefault("_", {})
    return kept


def page(data: list[Obj], url: str, *, has_more: bool = False) -> Obj:
    """Return a list object."""
    return {"object": "list", "data": data, "has_more": has_more, "url": url}
