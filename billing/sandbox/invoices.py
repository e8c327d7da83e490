"""Invoices: draft → open → paid, void or uncollectible; payment attempts."""

from typing import Any

from billing.sandbox import cards, charges, customers, drafts
from billing.sandbox.errors import StripeFault, no_payment_method
from billing.sandbox.shapes import Obj, new, notes, random_text
from billing.sandbox.store import Store

HOUR = 3600
DAY = 24 * HOUR
#: Days between attempts to collect; after the last the subscription's fate is decided.
RETRY_DAYS = (3, 5, 7)


def create(store: Store, subscription: Obj, invoice: Obj) -> Obj:
    """Store a drafted invoice as the subscription's latest; take its pending items over."""
    subscription["latest_invoice"] = invoice["id"]
    return keep(store, invoice, parent=subscription["id"])


def keep(store: Store, invoice: Obj, *, parent: str) -> Obj:
    """Store a drafted invoice; the items that waited for it wait no more."""
    for line in invoice["lines"]["data"]:
        about = line["parent"]
        id_ = (about["subscription_item_details"] or about["invoice_item_details"])["invoice_item"]
        if id_:
            item = store.get("invoiceitem", id_)
            store.put({**item, "invoice": invoice["id"]})
    return store.put(invoice, "invoice.created", parent=parent)


def schedule_finalization(store: Store, invoice: Obj) -> Obj:
    """Leave it a draft for an hour, as Stripe does with renewals."""
    at = store.at + HOUR
    notes(invoice)["due"] = at
    invoice.update(automatically_finalizes_at=at, next_payment_attempt=at)
    return invoice


def finalize(store: Store, invoice: Obj) -> Obj:
    """draft → open (or straight to paid when nothing is due)."""
    if invoice["status"] != "draft":
        raise StripeFault("This invoice is already finalized, you can't re-finalize it.")
    customer = store.get("customer", invoice["customer"])
    drafts.count(invoice, customer["balance"])
    number = customer["next_invoice_sequence"]
    url = f"{store.config.public_url}/invoice/{invoice['id']}?secret={random_text(32)}"
    balance = notes(invoice)["balance_after"]
    store.put(
        {
            **customer,
            "next_invoice_sequence": number + 1,
            "balance": balance,
            "currency": invoice["currency"],
        },
        "customer.updated",
    )
    invoice.update(
        status="open",
        number=f"{customer['invoice_prefix']}-{number:04}",
        effective_at=store.at,
        ending_balance=balance,
        hosted_invoice_url=url,
        invoice_pdf=f"{url}&pdf=1",
        automatically_finalizes_at=None,
        next_payment_attempt=None,
    )
    invoice["status_transitions"]["finalized_at"] = store.at
    own = notes(invoice)
    own.pop("due", None)
    if is_sent(invoice):
        invoice["due_date"] = store.at + own["days_until_due"] * DAY
        own["due"] = invoice["due_date"]
    if invoice["amount_due"]:
        intent = charges.intend(store, invoice)
        own.update(payment_intent=intent["id"], client_secret=intent["client_secret"])
        store.put(_payment(store, invoice), parent=invoice["id"])
    store.put(invoice, "invoice.finalized")
    return invoice if invoice["amount_due"] else settle(store, invoice)


def _payment(store: Store, invoice: Obj) -> Obj:
    intent = {"type": "payment_intent", "payment_intent": notes(invoice)["payment_intent"]}
    return new(
        "invoice_payment",
        created=store.at,
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        payment=intent,
    )


def is_sent(invoice: Obj) -> bool:
    """Tell whether the customer pays an invoice by hand, rather than being charged."""
    return bool(invoice["collection_method"] == "send_invoice")


def withhold(store: Store, invoice: Obj, behavior: str) -> None:
    """Do with an invoice what `pause_collection` says: it is not collected."""
    if behavior == "keep_as_draft":
        _leave_alone(invoice)
        store.put(invoice, "invoice.updated")
        return
    if invoice["status"] == "draft":
        finalize(store, invoice)
    if invoice["status"] == "open":
        if behavior == "void":
            void(store, invoice)
        else:
            give_up(store, invoice)


def _leave_alone(invoice: Obj) -> None:
    invoice.update(auto_advance=False, automatically_finalizes_at=None, next_payment_attempt=None)
    notes(invoice).pop("due", None)


def settle(store: Store, invoice: Obj, *, out_of_band: bool = False) -> Obj:
    """Mark as paid; whatever waited for it is released by the subscription's side."""
    from billing.sandbox import cycle  # a payment changes the subscription, which bills

    invoice.update(
        status="paid",
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
    )
    invoice["status_transitions"]["paid_at"] = store.at
    notes(invoice).pop("due", None)
    for payment in store.all("invoice_payment", parent=invoice["id"]):
        payment.update(status="paid", amount_paid=invoice["amount_paid"])
        payment["status_transitions"]["paid_at"] = store.at
        store.put(payment, None if out_of_band else "invoice_payment.paid")
    store.put(invoice, "invoice.paid")
    store.emit("invoice.payment_succeeded", invoice)
    cycle.invoice_paid(store, invoice)
    return store.get("invoice", invoice["id"])


def collect(
    store: Store, invoice: Obj, *, method: Obj | None = None, on_session: bool = False
) -> StripeFault | None:
    """Try to charge an open invoice. Returns why it failed, or None when it is paid.

    A failure is counted and announced, and the next attempt of the dunning walk is set.
    """
    subscription = _subscription_of(store, invoice)
    customer = store.get("customer", invoice["customer"])
    chosen = method or customers.default_method(store, customer, subscription)
    failure = _charge(store, invoice, chosen, on_session=on_session)
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    if failure is None:
        settle(store, invoice)
        return None
    _set_next_attempt(store, invoice)
    store.put(invoice, "invoice.payment_failed")
    if failure.code == "authentication_required":
        store.emit("invoice.payment_action_required", invoice)
    return failure


def _charge(
    store: Store, invoice: Obj, method: Obj | None, *, on_session: bool
) -> StripeFault | None:
    if method is None:
        return no_payment_method()
    try:
        cards.charge(store, method, invoice["amount_due"], on_session=on_session)
    except StripeFault as refused:
        return refused
    charges.take(store, invoice, method)
    return None


def _set_next_attempt(store: Store, invoice: Obj) -> None:
    tried = invoice["attempt_count"]
    following = None
    if invoice["auto_advance"] and tried <= len(RETRY_DAYS):
        following = store.at + RETRY_DAYS[tried - 1] * DAY
    invoice["next_payment_attempt"] = following
    notes(invoice)["due"] = following


def _subscription_of(store: Store, invoice: Obj) -> Obj | None:
    parent = invoice["parent"]
    return store.find(parent["subscription_details"]["subscription"]) if parent else None


def void(store: Store, invoice: Obj) -> Obj:
    """open → void; it will never be collected."""
    if invoice["status"] not in {"open", "uncollectible"}:
        raise StripeFault(
            f"You can only pass in open invoices. This invoice is {invoice['status']}."
        )
    _close(invoice, "void")
    invoice["status_transitions"]["voided_at"] = store.at
    return store.put(invoice, "invoice.voided")


def give_up(store: Store, invoice: Obj) -> Obj:
    """open → uncollectible: bad debt."""
    _close(invoice, "uncollectible")
    invoice["status_transitions"]["marked_uncollectible_at"] = store.at
    return store.put(invoice, "invoice.marked_uncollectible")


def _close(invoice: Obj, status: str) -> None:
    invoice.update(status=status, auto_advance=False, next_payment_attempt=None)
    notes(invoice).pop("due", None)


# Operations


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/invoices/{id}."""
    return store.get("invoice", ids["id"])


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/invoices by customer, subscription, status."""
    where: Obj = {
        name: params[name] for name in ("customer", "status", "collection_method") if name in params
    }
    if "subscription" in params:
        where["parent"] = {"subscription_details": {"subscription": params["subscription"]}}
    return store.listing("invoice", params, "/v1/invoices", where=where)


def list_lines(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/invoices/{id}/lines; our invoices fit into one page."""
    found: Obj = store.get("invoice", ids["id"])["lines"]
    return found


def finalize_operation(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/invoices/{id}/finalize; with `auto_advance` it is collected in an hour."""
    invoice = store.get("invoice", ids["id"])
    invoice["auto_advance"] = params.get("auto_advance", invoice["auto_advance"])
    invoice = finalize(store, invoice)
    if invoice["status"] != "open" or not invoice["auto_advance"]:
        return invoice
    invoice["next_payment_attempt"] = notes(invoice)["due"] = store.at + HOUR
    return store.put(invoice)


def void_operation(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/invoices/{id}/void."""
    return void(store, store.get("invoice", ids["id"]))


def give_up_operation(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/invoices/{id}/mark_uncollectible."""
    return give_up(store, store.get("invoice", ids["id"]))


def pay(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/invoices/{id}/pay. A failed attempt stays counted."""
    invoice = store.get("invoice", ids["id"])
    if invoice["status"] == "paid":
        raise StripeFault("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] == "draft":
        finalize(store, invoice)
    if invoice["status"] == "open":
        if params.get("paid_out_of_band"):
            return settle(store, invoice, out_of_band=True)
        method = None
        if "payment_method" in params:
            method = store.get("payment_method", params["payment_method"], param="payment_method")
        failure = collect(
            store, invoice, method=method, on_session=params.get("off_session") is False
        )
        if failure is not None:
            failure.keep = True
            raise failure
    return store.get("invoice", invoice["id"])
