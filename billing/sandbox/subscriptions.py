"""Subscriptions: create, retrieve, list, cancel; how one ends."""

from typing import Any

from psycopg import sql

from billing.sandbox import customers, discounts, drafts, invoices, items, lines, terms
from billing.sandbox.errors import invalid, no_payment_method
from billing.sandbox.invoices import DAY, HOUR
from billing.sandbox.periods import next_boundary
from billing.sandbox.setup_intents import pending_for
from billing.sandbox.shapes import Obj, new, notes
from billing.sandbox.store import Store

ENDED = ("canceled", "incomplete_expired")
#: A first invoice has this long to be paid.
FIRST_PAYMENT = 23 * HOUR
_WARNING = 3 * DAY


def save(store: Store, subscription: Obj, event: str | None = None) -> Obj:
    """Write the subscription and its discounts; set when it next needs attention."""
    discounts.store_new(store, subscription)
    notes(subscription)["due"] = _due(subscription)
    return store.put(subscription, event)


def updated(store: Store, subscription: Obj) -> Obj:
    """Write the subscription; announce it when anything changed."""
    return save(store, subscription, "customer.subscription.updated")


def _due(subscription: Obj) -> int | None:
    status, own = subscription["status"], notes(subscription)
    if status in ENDED:
        return None
    pause = subscription["pause_collection"] or {}
    moments = [
        subscription["cancel_at"],
        own.get("pending", {}).get("expires_at"),
        pause.get("resumes_at"),
    ]
    if status == "incomplete":
        moments.append(subscription["created"] + FIRST_PAYMENT)
    elif status == "trialing":
        warned = own.get("warned") == subscription["trial_end"]
        moments.append(subscription["trial_end"] - (0 if warned else _WARNING))
    elif status != "paused":
        moments.append(items.period_of(subscription)[1])
    return min((moment for moment in moments if moment is not None), default=None)


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/subscriptions."""
    for name in ("customer", "items"):
        if not params.get(name):
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    store.customer(params["customer"])
    return start(store, params)


def start(store: Store, params: dict[str, Any]) -> Obj:
    """Make a subscription and bill its first period, or begin its trial."""
    subscription = drafted(store, params)
    customer = store.customer(params["customer"])
    trial = subscription["status"] == "trialing"
    period_lines = lines.for_period(store, subscription, trial=trial)
    invoice = drafts.draft(
        store,
        subscription,
        period_lines,
        reason="subscription_create",
        period=(store.at, store.at),
    )
    has_method = customers.default_method(store, customer, subscription) is not None
    behavior = params.get("payment_behavior", "allow_incomplete")
    sent = invoices.is_sent(invoice)
    waits = behavior == "default_incomplete" or sent
    if invoice["amount_due"] and not waits and not has_method:
        raise no_payment_method()
    if (sent or not invoice["amount_due"]) and not trial:
        subscription["status"] = "active"
    if trial and not has_method:
        subscription["pending_setup_intent"] = pending_for(store, customer)["id"]
    subscription["latest_invoice"] = invoice["id"]
    save(store, subscription, "customer.subscription.created")
    invoices.create(store, subscription, invoice)
    invoices.finalize(store, invoice)
    if invoice["amount_due"] and not waits:
        failure = invoices.collect(store, invoice)
        if failure is not None and behavior == "error_if_incomplete":
            raise failure
    return store.get("subscription", subscription["id"])


def drafted(store: Store, params: dict[str, Any]) -> Obj:
    """Return the subscription a request describes, not stored, in its first period."""
    subscription = new(
        "subscription", created=store.at, start_date=store.at, customer=params["customer"]
    )
    made = [
        items.make(store, subscription["id"], given, f"items[{index}]")
        for index, given in enumerate(params["items"])
    ]
    subscription["currency"] = params.get("currency", made[0]["price"]["currency"])
    items.check_together(made, subscription["currency"])
    subscription["items"] = items.listed(subscription["id"], made)
    set_plain(store, subscription, params)
    for index, (item, given) in enumerate(zip(made, params["items"], strict=True)):
        terms.apply_to_item(store, subscription, item, given, f"items[{index}]")
    terms.apply(store, subscription, params)
    trial_end = _trial_end(store, params)
    if trial_end is not None:
        subscription.update(
            status="trialing",
            trial_start=store.at,
            trial_end=trial_end,
            billing_cycle_anchor=trial_end,
        )
        items.set_period(subscription, store.at, trial_end)
    else:
        subscription["billing_cycle_anchor"] = store.at
        items.set_period(
            subscription, store.at, next_boundary(store.at, made[0]["price"]["recurring"], store.at)
        )
    if params.get("cancel_at_period_end"):
        subscription.update(
            cancel_at_period_end=True,
            canceled_at=store.at,
            cancel_at=items.period_of(subscription)[1],
        )
    return subscription


def _trial_end(store: Store, params: dict[str, Any]) -> int | None:
    if "trial_end" in params and "trial_period_days" in params:
        raise invalid(
            "You can only pass one of trial_end and trial_period_days.", param="trial_end"
        )
    if "trial_period_days" in params:
        days = int(params["trial_period_days"])
        if not 0 <= days <= 730:
            raise invalid("Invalid trial_period_days: 0 to 730", param="trial_period_days")
        return store.at + days * DAY if days else None
    at = params.get("trial_end", "now")
    if at == "now":
        return None
    check_trial_end(store, at)
    return int(at)


def check_trial_end(store: Store, at: int) -> None:
    """Raise StripeFault unless the instant can be a trial's end."""
    if at <= store.at:
        raise invalid(
            "Invalid timestamp: must be an integer Unix timestamp in the future", param="trial_end"
        )


def set_plain(store: Store, subscription: Obj, params: dict[str, Any]) -> None:
    """Apply what has no bearing on money: metadata, settings, default card."""
    if "metadata" in params:
        subscription["metadata"] = customers.merged(subscription["metadata"], params["metadata"])
    for name in ("description", "cancellation_details", "payment_settings"):
        if name in params:
            value = params[name] or None
            kept = subscription[name]
            subscription[name] = {**kept, **value} if isinstance(value, dict) and kept else value
    if "trial_settings" in params:
        subscription["trial_settings"]["end_behavior"].update(
            params["trial_settings"]["end_behavior"]
        )
    if params.get("billing_mode", {}).get("type") == "classic":
        raise invalid("The sandbox bills in flexible mode only.", param="billing_mode[type]")
    if "default_payment_method" in params:
        subscription["default_payment_method"] = customers.own_card(
            store,
            subscription["customer"],
            params["default_payment_method"],
            param="default_payment_method",
        )


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/subscriptions/{id}."""
    return store.get("subscription", ids["id"])


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/subscriptions; ended ones only when their status, `ended` or `all` is asked for."""
    where: Obj = {
        name: params[name] for name in ("customer", "collection_method") if name in params
    }
    if "price" in params:
        where["items"] = {"data": [{"price": {"id": params["price"]}}]}
    conditions: list[sql.Composable] = []
    values: dict[str, Any] = {}
    status = params.get("status")
    if status in {None, "ended"}:
        negate = sql.SQL("NOT ") if status is None else sql.SQL("")
        conditions.append(negate + sql.SQL("data->>'status' = ANY(%(ended)s)"))
        values["ended"] = ["canceled"] if status is None else list(ENDED)
    elif status != "all":
        where["status"] = status
    return store.listing(
        "subscription",
        params,
        "/v1/subscriptions",
        where=where,
        conditions=conditions,
        values=values,
    )


def cancel(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """DELETE /v1/subscriptions/{id}: at once."""
    subscription = store.get("subscription", ids["id"])
    if subscription["status"] in ENDED:
        raise invalid(
            f"No such subscription: '{subscription['id']}'", code="resource_missing", param="id"
        )
    if "cancellation_details" in params:
        set_plain(store, subscription, {"cancellation_details": params["cancellation_details"]})
    if params.get("prorate") and subscription["status"] != "trialing":
        for item in subscription["items"]["data"]:
            for line in lines.prorated(store, subscription, item, None, at=store.at):
                lines.to_item(store, subscription, line)
    return end(
        store,
        subscription,
        reason="cancellation_requested",
        invoice_now=params.get("invoice_now", False),
    )


def end(store: Store, subscription: Obj, *, reason: str | None, invoice_now: bool = False) -> Obj:
    """Cancel now: final use is billed if asked, open invoices are no longer collected."""
    from billing.sandbox import schedules  # a schedule ends with its subscription

    if invoice_now:
        bill_leftovers(store, subscription)
    subscription.update(status="canceled", ended_at=store.at, pending_update=None)
    subscription["canceled_at"] = subscription["canceled_at"] or store.at
    if reason:
        subscription["cancellation_details"] = {
            **(subscription["cancellation_details"] or {"comment": None, "feedback": None}),
            "reason": reason,
        }
    notes(subscription).pop("pending", None)
    if subscription["schedule"]:
        schedules.close(store, subscription["schedule"], "canceled")
    for invoice in store.all("invoice", parent=subscription["id"]):
        if invoice["status"] in {"draft", "open"} and invoice["auto_advance"]:
            notes(invoice).pop("due", None)
            store.put(
                {
                    **invoice,
                    "auto_advance": False,
                    "next_payment_attempt": None,
                    "automatically_finalizes_at": None,
                },
                "invoice.updated",
            )
    return save(store, subscription, "customer.subscription.deleted")


def bill_leftovers(store: Store, subscription: Obj) -> None:
    """Invoice use and pending items that no renewal will pick up any more."""
    left = [lines.from_item(item) for item in lines.pending(store, subscription)]
    left += [
        line for line in lines.for_usage(store, subscription, until=store.at) if line["amount"]
    ]
    if not left:
        return
    invoice = drafts.draft(
        store, subscription, left, reason="subscription_cycle", period=items.period_of(subscription)
    )
    invoices.create(store, subscription, invoice)
    invoices.finalize(store, invoice)
    if invoice["status"] == "open" and not invoices.is_sent(invoice):
        invoices.collect(store, invoice)
