"""What a card paid: the payment intent of an invoice, its charge, and refunds of it."""

from typing import Any

from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.shapes import Obj, new, notes, random_text
from billing.sandbox.store import Store


def intend(store: Store, invoice: Obj) -> Obj:
    """Make the payment intent with which an open invoice is to be paid."""
    intent = new(
        "payment_intent",
        created=store.at,
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
    )
    intent["client_secret"] = f"{intent['id']}_secret_{random_text()}"
    return store.put(intent, parent=invoice["id"])


def take(store: Store, invoice: Obj, method: Obj) -> Obj:
    """Write down that a card paid what is left of the invoice."""
    intent = store.get("payment_intent", notes(invoice)["payment_intent"])
    charge = new(
        "charge",
        created=store.at,
        amount=invoice["amount_remaining"],
        amount_captured=invoice["amount_remaining"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        payment_intent=intent["id"],
        payment_method=method["id"],
    )
    intent.update(
        amount_received=charge["amount"],
        latest_charge=charge["id"],
        payment_method=method["id"],
        status="succeeded",
    )
    store.put(intent)
    return store.put(charge, parent=invoice["id"])


def refund(store: Store, charge: Obj, amount: int, **fields: Any) -> Obj:
    """Give money of a charge back. Raises StripeFault for more than is left of it."""
    left = charge["amount"] - charge["amount_refunded"]
    if not left:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    if not 0 < amount <= left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
        )
    refunded = new(
        "refund",
        created=store.at,
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        payment_intent=charge["payment_intent"],
        **fields,
    )
    store.put(refunded, "refund.created", parent=charge["id"])
    _count(store, charge, amount)
    store.emit("charge.refunded", charge)
    return refunded


def fail(store: Store, refunded: Obj) -> Obj:
    """Let the bank send a refund back: the money is the seller's again."""
    if refunded["status"] == "failed":
        raise StripeFault("The refund has failed already.")
    refunded.update(status="failed", failure_reason="lost_or_stolen_card")
    store.put(refunded, "refund.updated")
    _count(store, store.get("charge", refunded["charge"]), -refunded["amount"])
    store.emit("charge.refund.updated", refunded)
    store.emit("refund.failed", refunded)
    return refunded


def _count(store: Store, charge: Obj, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    store.put(charge)


# Operations


def create_refund(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/refunds of a charge or a payment intent: all that is left, or an amount."""
    if "charge" in params:
        charge = store.get("charge", params["charge"], param="charge")
    elif "payment_intent" in params:
        intent = store.get("payment_intent", params["payment_intent"], param="payment_intent")
        if not intent["latest_charge"]:
            raise invalid("This PaymentIntent does not have a successful charge to refund.")
        charge = store.get("charge", intent["latest_charge"])
    else:
        raise invalid("One of the following params should be provided: payment_intent or charge.")
    store.lock_customer(charge["customer"])
    charge = store.get("charge", charge["id"])
    amount = params.get("amount", charge["amount"] - charge["amount_refunded"])
    return refund(
        store,
        charge,
        amount,
        reason=params.get("reason"),
        metadata=params.get("metadata") or {},
    )


def list_charges(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/charges by customer or payment intent."""
    where: Obj = {name: params[name] for name in ("customer", "payment_intent") if name in params}
    return store.listing("charge", params, "/v1/charges", where=where)


def list_refunds(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/refunds by charge or payment intent."""
    where: Obj = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return store.listing("refund", params, "/v1/refunds", where=where)


def list_payments(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/invoice_payments by invoice, status, or what paid."""
    where: Obj = {name: params[name] for name in ("invoice", "status", "payment") if name in params}
    return store.listing("invoice_payment", params, "/v1/invoice_payments", where=where)
