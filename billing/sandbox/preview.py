"""POST /v1/invoices/create_preview: the invoice a change makes now, or the next renewal's."""

from copy import deepcopy
from typing import Any

from billing.sandbox import changes, drafts, invoices, items, lines, subscriptions
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.periods import next_boundary
from billing.sandbox.shapes import Obj, random_text
from billing.sandbox.store import Store


def create_preview(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """Return an invoice that is kept nowhere. Nothing is written."""
    details = params.get("subscription_details", {})
    if "subscription" in params:
        subscription = store.get("subscription", params["subscription"], param="subscription")
    elif "customer" not in params:
        raise invalid(
            "Pass a customer or a subscription.", code="parameter_missing", param="customer"
        )
    elif details.get("items"):
        return _for_new(store, params["customer"], details)
    else:
        subscription = _only_one(store, params["customer"])
    if subscription["status"] in subscriptions.ENDED:
        raise _none()
    if details.get("billing_cycle_anchor", {}).get("type") == "timestamp":
        raise invalid(
            "The sandbox previews anchors `now` and `unchanged` only.",
            param="subscription_details[billing_cycle_anchor][type]",
        )
    if "discounts" in params:
        details = {**details, "discounts": params["discounts"]}
    change = changes.compute(store, subscription, details)
    return _shown(change.invoice(store) if change.bill_now else _renewal(store, change))


def _only_one(store: Store, customer: str) -> Obj:
    store.customer(customer)
    running = [
        s
        for s in store.all("subscription", customer=customer)
        if s["status"] not in subscriptions.ENDED
    ]
    if not running:
        raise _none()
    return running[0]


def _for_new(store: Store, customer: str, details: dict[str, Any]) -> Obj:
    store.customer(customer)
    subscription = subscriptions.drafted(store, {**details, "customer": customer})
    trial = subscription["status"] == "trialing"
    return _shown(
        drafts.draft(
            store,
            subscription,
            lines.for_period(store, subscription, trial=trial),
            reason="subscription_create",
            period=(store.at, store.at),
        )
    )


def _renewal(store: Store, change: changes.Change) -> Obj:
    after = deepcopy(change.after)
    start, end = items.period_of(after)
    charged = [lines.from_item(item) for item in lines.pending(store, after)]
    charged += [*change.prorations, *change.used]
    charged += lines.for_usage(store, after, until=end)
    if after["cancel_at"] is None or after["cancel_at"] > end:
        recurring = after["items"]["data"][0]["price"]["recurring"]
        items.set_period(after, end, next_boundary(after["billing_cycle_anchor"], recurring, end))
        charged += lines.for_period(store, after)
    if not charged:
        raise _none()
    invoice = drafts.draft(
        store,
        after,
        charged,
        reason="subscription_cycle",
        period=(start, end),
        proration_date=change.at if change.prorations else None,
        at=end,
    )
    invoice["next_payment_attempt"] = end + invoices.HOUR
    return invoice


def _shown(invoice: Obj) -> Obj:
    invoice["id"] = f"upcoming_{invoice['id']}"
    invoice["billing_reason"] = "upcoming"
    invoice["lines"]["url"] = f"/v1/invoices/{invoice['id']}/lines"
    invoice["ending_balance"] = invoice["_"]["balance_after"]
    for line in invoice["lines"]["data"]:
        line["id"] = f"il_tmp_{random_text()}"
        line["invoice"] = invoice["id"]
    return invoice


def _none() -> StripeFault:
    return StripeFault(
        "No upcoming invoices for customer", status=404, code="invoice_upcoming_none"
    )
