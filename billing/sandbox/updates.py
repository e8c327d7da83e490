"""POST /v1/subscriptions/{id}: apply a change, and collect what it costs."""

from typing import Any

from billing.sandbox import changes, customers, drafts, invoices, items, lines, subscriptions
from billing.sandbox.errors import StripeFault, card_error, invalid, no_payment_method
from billing.sandbox.shapes import Obj, notes
from billing.sandbox.store import Store

#: All that may still be changed once a subscription has ended.
_AFTER_END = {"metadata", "cancellation_details", "expand"}


def update(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """Apply what is given; `payment_behavior` says what a failed payment means."""
    subscription = store.get("subscription", ids["id"])
    if subscription["status"] in subscriptions.ENDED and params.keys() - _AFTER_END:
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata."
        )
    if subscription["status"] == "incomplete" and "items" in params:
        raise invalid(
            "You cannot update a subscription in `incomplete` status in a way that "
            "results in a new invoice."
        )
    change = changes.compute(store, subscription, params)
    if change.bill_now:
        bill(store, subscription, change, params.get("payment_behavior", "allow_incomplete"))
    else:
        apply(store, change, params.get("proration_behavior", "create_prorations"))
    return store.get("subscription", subscription["id"])


def delete_discount(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """DELETE /v1/subscriptions/{id}/discount: all of the subscription's own."""
    subscription = store.get("subscription", ids["id"])
    if not subscription["discounts"]:
        raise invalid("No active discount for subscription", code="resource_missing", param="id")
    discount = store.get("discount", subscription["discounts"][-1])
    subscriptions.updated(store, {**subscription, "discounts": []})
    return {**discount, "deleted": True}


def apply(store: Store, change: changes.Change, behavior: str) -> None:
    """Write a change that bills nothing now; prorations wait for the next invoice."""
    if behavior == "create_prorations":
        for line in change.prorations:
            lines.to_item(store, change.after, line)
    for line in change.used:
        lines.to_item(store, change.after, line)
    subscriptions.updated(store, change.after)


def bill(store: Store, before: Obj, change: changes.Change, behavior: str) -> None:
    """Write a change that bills at once. Raises StripeFault where nothing may change."""
    invoice = change.invoice(store)
    pause = change.after["pause_collection"]
    sent = invoices.is_sent(invoice)
    waits = behavior == "default_incomplete" or sent or bool(pause)
    customer = store.get("customer", before["customer"])
    if (
        invoice["amount_due"]
        and not waits
        and customers.default_method(store, customer, change.after) is None
    ):
        raise no_payment_method()
    if behavior == "pending_if_incomplete":
        _hold(store, before, change, invoice)
    else:
        change.after["latest_invoice"] = invoice["id"]
        subscriptions.updated(store, change.after)
    invoices.create(store, change.after, invoice)
    if pause:
        invoices.withhold(store, invoice, pause["behavior"])
        return
    invoices.finalize(store, invoice)
    if invoice["status"] == "paid" or sent:
        return
    failure = None if waits else invoices.collect(store, invoice)
    if failure is not None and behavior == "error_if_incomplete":
        raise _refusal(failure)
    if (failure is not None or waits) and behavior != "pending_if_incomplete":
        owing = store.get("subscription", before["id"])
        subscriptions.updated(store, {**owing, "status": "past_due"})


def _refusal(failure: StripeFault) -> StripeFault:
    if failure.code != "authentication_required":
        return failure
    return card_error(
        "subscription_payment_intent_requires_action",
        "Payment for this subscription requires additional user action before it can be "
        "completed successfully.",
    )


def _hold(store: Store, before: Obj, change: changes.Change, invoice: Obj) -> None:
    """Keep the change until its invoice is paid (`pending_update`), 23 hours at most."""
    expires = store.at + subscriptions.FIRST_PAYMENT
    before["pending_update"] = {
        "billing_cycle_anchor": None,
        "expires_at": expires,
        "subscription_items": change.after["items"]["data"],
        "trial_end": change.after["trial_end"],
        "trial_from_plan": None,
    }
    before["latest_invoice"] = invoice["id"]
    notes(before)["pending"] = {
        "after": {name: value for name, value in change.after.items() if name != "_"},
        "debited": notes(change.after).get("debited", {}),
        "invoice": invoice["id"],
        "expires_at": expires,
    }
    subscriptions.updated(store, before)


def resume(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/subscriptions/{id}/resume: a paused one bills again, from now by default."""
    subscription = store.get("subscription", ids["id"])
    if subscription["status"] != "paused":
        raise invalid("You can only resume subscriptions in `paused` status.")
    anchor = params.get("billing_cycle_anchor", {"type": "now"})["type"]
    if anchor == "now":
        subscription["billing_cycle_anchor"] = store.at
    _enter_period(subscription, store.at)
    invoice_lines = lines.for_period(store, subscription)
    if anchor != "now" and params.get("proration_behavior") != "none":
        invoice_lines = [
            line
            for item in subscription["items"]["data"]
            for line in lines.prorated(store, subscription, None, item, at=store.at)
        ]
    elif anchor != "now":
        invoice_lines = []
    invoice = drafts.draft(
        store,
        subscription,
        invoice_lines,
        reason="subscription_update",
        period=items.period_of(subscription),
    )
    customer = store.get("customer", subscription["customer"])
    has_method = customers.default_method(store, customer, subscription) is not None
    if invoice["amount_due"] and not has_method:
        raise no_payment_method()
    subscription["latest_invoice"] = invoice["id"]
    notes(subscription)["resumes"] = invoice["id"]
    subscriptions.updated(store, subscription)
    invoices.create(store, subscription, invoice)
    invoices.finalize(store, invoice)
    if invoice["status"] == "open":
        failure = invoices.collect(store, invoice)
        if failure is not None and params.get("payment_behavior") == "resume_on_payment_attempt":
            _wake(store, store.get("subscription", subscription["id"]), "past_due")
    return store.get("subscription", subscription["id"])


def _enter_period(subscription: Obj, at: int) -> None:
    from billing.sandbox.periods import next_boundary, step

    anchor = subscription["billing_cycle_anchor"]
    recurring = subscription["items"]["data"][0]["price"]["recurring"]
    end = next_boundary(anchor, recurring, at)
    start = at if at == anchor else step(end, recurring["interval"], -recurring["interval_count"])
    items.set_period(subscription, start, end)


def _wake(store: Store, subscription: Obj, status: str) -> None:
    notes(subscription).pop("resumes", None)
    subscription.update(status=status, status_details=None)
    subscriptions.updated(store, subscription)
    store.emit("customer.subscription.resumed", subscription)


def paid(store: Store, subscription: Obj, invoice: Obj) -> None:
    """Let a payment do to the subscription what was waiting for it."""
    own = notes(subscription)
    pending = own.get("pending")
    if pending and pending["invoice"] == invoice["id"]:
        kept = {name: value for name, value in own.items() if name != "pending"}
        kept["debited"] = pending["debited"]
        subscription = {
            **pending["after"],
            "latest_invoice": invoice["id"],
            "pending_update": None,
            "_": kept,
        }
        subscriptions.updated(store, subscription)
        store.emit("customer.subscription.pending_update_applied", subscription)
        return
    if own.get("resumes") == invoice["id"]:
        _wake(store, subscription, "active")
    elif subscription["status"] == "incomplete" or (
        subscription["status"] in {"past_due", "unpaid"}
        and invoice["id"] == subscription["latest_invoice"]
    ):
        subscriptions.updated(store, {**subscription, "status": "active"})
