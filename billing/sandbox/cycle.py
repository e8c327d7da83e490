"""What time brings: trials end, periods renew, unpaid invoices walk the dunning path."""

from billing.sandbox import customers, drafts, invoices, items, lines, subscriptions, updates
from billing.sandbox.periods import next_boundary
from billing.sandbox.shapes import Obj, notes
from billing.sandbox.store import Store

#: What becomes of a subscription whose invoice was never paid (a setting at Stripe).
OUTCOMES = ("canceled", "unpaid", "past_due")


def subscription_due(store: Store, subscription: Obj) -> None:
    """Do the one thing that is due; `subscriptions.save` sets the next."""
    status = subscription["status"]
    cancel_at, trial_end = subscription["cancel_at"], subscription["trial_end"]
    pending = notes(subscription).get("pending")
    pause = subscription["pause_collection"]
    if pause and pause["resumes_at"] is not None and pause["resumes_at"] <= store.at:
        subscriptions.updated(store, {**subscription, "pause_collection": None})
    elif pending and pending["expires_at"] <= store.at:
        _forget_pending(store, subscription, pending)
    elif status == "incomplete":
        _expire(store, subscription)
    elif cancel_at is not None and cancel_at <= store.at:
        subscriptions.end(store, subscription, reason=None, invoice_now=status != "trialing")
    elif status == "trialing" and trial_end <= store.at:
        _end_trial(store, subscription)
    elif status == "trialing":
        notes(subscription)["warned"] = trial_end
        subscriptions.save(store, subscription)
        store.emit("customer.subscription.trial_will_end", subscription)
    else:
        _renew(store, subscription)


def _expire(store: Store, subscription: Obj) -> None:
    subscription.update(status="incomplete_expired", ended_at=store.at)
    subscriptions.updated(store, subscription)
    invoice = store.get("invoice", subscription["latest_invoice"])
    if invoice["status"] == "open":
        invoices.void(store, invoice)


def _forget_pending(store: Store, subscription: Obj, pending: Obj) -> None:
    notes(subscription).pop("pending")
    subscription["pending_update"] = None
    subscriptions.updated(store, subscription)
    store.emit("customer.subscription.pending_update_expired", subscription)
    invoice = store.get("invoice", pending["invoice"])
    if invoice["status"] == "open":
        invoices.void(store, invoice)


def _end_trial(store: Store, subscription: Obj) -> None:
    customer = store.get("customer", subscription["customer"])
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if customers.default_method(store, customer, subscription) is None:
        if behavior == "cancel":
            subscriptions.end(store, subscription, reason=None)
            return
        if behavior == "pause":
            subscription.update(
                status="paused",
                status_details={
                    "paused": {
                        "subscription": {"type": "trial_end_without_payment_method"},
                        "transitioned_at": store.at,
                        "type": "subscription",
                    }
                },
            )
            subscriptions.updated(store, subscription)
            store.emit("customer.subscription.paused", subscription)
            return
    subscription["status"] = "active"
    _renew(store, subscription)


def _renew(store: Store, subscription: Obj) -> None:
    """Begin the next period: bill it in advance, and the use of the one that ended."""
    start, end = items.period_of(subscription)
    charged = [lines.from_item(item) for item in lines.pending(store, subscription)]
    charged += lines.for_usage(store, subscription, until=end)
    recurring = subscription["items"]["data"][0]["price"]["recurring"]
    items.set_period(
        subscription, end, next_boundary(subscription["billing_cycle_anchor"], recurring, end)
    )
    period_lines = lines.for_period(store, subscription)
    charged += period_lines
    invoice = drafts.draft(
        store, subscription, charged, reason="subscription_cycle", period=(start, end)
    )
    kept = (subscription["pause_collection"] or {}).get("behavior") == "keep_as_draft"
    if kept or subscription["status"] == "unpaid":
        # Stripe leaves these drafts alone until somebody pays or finalises them.
        invoice["auto_advance"] = False
    else:
        invoices.schedule_finalization(store, invoice)
    subscription["latest_invoice"] = invoice["id"]
    subscriptions.updated(store, subscription)
    invoices.create(store, subscription, invoice)


def invoice_due(store: Store, invoice: Obj) -> None:
    """Finalise a draft whose hour is over, or try again to collect an open invoice."""
    if invoice["status"] == "draft":
        pause = (_of(store, invoice) or {}).get("pause_collection")
        if pause:
            invoices.withhold(store, invoice, pause["behavior"])
        else:
            invoices.finalize(store, invoice)
    if invoice["status"] != "open":
        return
    if invoices.is_sent(invoice):
        _sent_due(store, invoice)
        return
    if invoices.collect(store, invoice) is None:
        return
    subscription = _of(store, invoice)
    if subscription is None or subscription["status"] in (*subscriptions.ENDED, "incomplete"):
        return
    if invoice["next_payment_attempt"] is not None:
        if subscription["status"] == "active":
            subscriptions.updated(store, {**subscription, "status": "past_due"})
        return
    outcome = store.setting("dunning_outcome", OUTCOMES[0])
    if outcome == "canceled":
        subscriptions.end(store, subscription, reason="payment_failed")
    else:
        subscriptions.updated(store, {**subscription, "status": outcome})


def _of(store: Store, invoice: Obj) -> Obj | None:
    parent = invoice["parent"]
    return store.find(parent["subscription_details"]["subscription"]) if parent else None


def _sent_due(store: Store, invoice: Obj) -> None:
    """An invoice that was sent is overdue when its day has come; just finalised, it waits."""
    if invoice["due_date"] > store.at:
        return
    notes(invoice).pop("due", None)
    store.put(invoice, "invoice.overdue")
    subscription = _of(store, invoice)
    if subscription is not None and subscription["status"] == "active":
        subscriptions.updated(store, {**subscription, "status": "past_due"})


def invoice_paid(store: Store, invoice: Obj) -> None:
    """Tell the subscription that one of its invoices was paid."""
    subscription = _of(store, invoice)
    if subscription is not None and subscription["status"] not in subscriptions.ENDED:
        updates.paid(store, subscription, invoice)
