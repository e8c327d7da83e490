"""Credit notes: an invoice that was finalised is corrected, before or after it is paid."""

from typing import Any

from billing.sandbox import charges, invoices
from billing.sandbox.errors import invalid
from billing.sandbox.shapes import Obj, new, notes, page, random_text
from billing.sandbox.store import Store


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/credit_notes of an amount.

    Of an open invoice it lowers what is to be paid. Of a paid one it has to say where the
    money goes: back to the card, to the customer's balance, or past Stripe.
    """
    invoice = store.get("invoice", params["invoice"], param="invoice")
    store.lock_customer(invoice["customer"])
    invoice = store.get("invoice", invoice["id"])
    if invoice["status"] not in ("open", "paid"):
        raise invalid("Credit notes can only be created for open or paid invoices.")
    amount = params.get("amount", 0)
    credited = invoice["pre_payment_credit_notes_amount"]
    credited += invoice["post_payment_credit_notes_amount"]
    if not 0 < amount <= invoice["total"] - credited:
        raise invalid("The credit note's amount exceeds what can be credited.", param="amount")
    paid = invoice["status"] == "paid"
    note = _drafted(store, params, invoice, paid=paid)
    if paid:
        _give_back(store, params, invoice, note)
        invoice["post_payment_credit_notes_amount"] += amount
    else:
        invoice["pre_payment_credit_notes_amount"] += amount
        _lower(invoice, amount)
    store.put(invoice, "invoice.updated")
    store.put(note, "credit_note.created", parent=invoice["id"])
    if not paid and not invoice["amount_remaining"]:
        invoices.settle(store, invoice)
    return note


def void(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/credit_notes/{id}/void, while its invoice is still open."""
    note = store.get("credit_note", ids["id"])
    invoice = store.get("invoice", note["invoice"])
    if note["status"] == "void" or invoice["status"] != "open":
        raise invalid("You can only void a credit note of an open invoice.")
    note.update(status="void", voided_at=store.at)
    invoice["pre_payment_credit_notes_amount"] -= note["amount"]
    _lower(invoice, -note["amount"])
    store.put(invoice, "invoice.updated")
    return store.put(note, "credit_note.voided")


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/credit_notes by customer or invoice."""
    where: Obj = {name: params[name] for name in ("customer", "invoice") if name in params}
    return store.listing("credit_note", params, "/v1/credit_notes", where=where)


def _lower(invoice: Obj, amount: int) -> None:
    invoice["amount_due"] -= amount
    invoice["amount_remaining"] -= amount


def _drafted(store: Store, params: dict[str, Any], invoice: Obj, *, paid: bool) -> Obj:
    amount = params["amount"]
    sequence = notes(invoice).get("credit_notes", 0) + 1
    notes(invoice)["credit_notes"] = sequence
    note = new(
        "credit_note",
        created=store.at,
        effective_at=store.at,
        currency=invoice["currency"],
        customer=invoice["customer"],
        invoice=invoice["id"],
        memo=params.get("memo"),
        metadata=params.get("metadata") or {},
        number=f"{invoice['number']}-CN-{sequence:02}",
        pdf=f"{store.config.public_url}/credit_note/{random_text(16)}/pdf",
        reason=params.get("reason"),
        out_of_band_amount=params.get("out_of_band_amount"),
        type="post_payment" if paid else "pre_payment",
    )
    for name in ("amount", "subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        note[name] = amount
    note["post_payment_amount" if paid else "pre_payment_amount"] = amount
    line = new(
        "credit_note_line_item",
        amount=amount,
        description=invoice["number"],
        unit_amount=amount,
        unit_amount_decimal=str(amount),
    )
    note["lines"] = page([line], f"/v1/credit_notes/{note['id']}/lines")
    return note


def _give_back(store: Store, params: dict[str, Any], invoice: Obj, note: Obj) -> None:
    refunded = params.get("refund_amount", 0)
    balance = params.get("credit_amount", 0)
    if refunded + balance + params.get("out_of_band_amount", 0) != note["amount"]:
        raise invalid(
            "The sum of credit amount, refund amount and out of band amount must equal the credit"
            " note amount."
        )
    if refunded:
        intent = store.get("payment_intent", notes(invoice)["payment_intent"])
        charge = store.get("charge", intent["latest_charge"])
        made = charges.refund(store, charge, refunded)
        note["refunds"] = [
            {"amount_refunded": refunded, "refund": made["id"], "type": "refund"},
        ]
    if balance:
        customer = store.get("customer", invoice["customer"])
        customer["balance"] -= balance
        store.put(customer, "customer.updated")
