"""Invoices before they are stored: their lines, discounts, taxes and totals."""

from collections import Counter
from typing import Any

from billing.sandbox import discounts, lines, taxes
from billing.sandbox.shapes import Obj, new, notes, page
from billing.sandbox.store import Store


def draft(
    store: Store,
    subscription: Obj,
    invoice_lines: list[Obj],
    *,
    reason: str,
    period: tuple[int, int],
    proration_date: int | None = None,
    at: int | None = None,
) -> Obj:
    """Return an invoice of these lines, counted but neither stored nor announced.

    `at` is when it would be made, if that is not now: which discounts run depends
    on it. The subscription notes what was debited, and loses the discounts used up.
    """
    at = store.at if at is None else at
    customer = store.get("customer", subscription["customer"])
    discounts.take_off(store, subscription, invoice_lines, at=at)
    for line in invoice_lines:
        default_rates = subscription["default_tax_rates"]
        taxes.tax(store, customer, line, default_rates, net=discounts.net(line))
    lines.remember(subscription, invoice_lines)
    details: Obj = {
        "metadata": dict(subscription["metadata"]),
        "subscription": subscription["id"],
    }
    if proration_date is not None:
        details["subscription_proration_date"] = proration_date
    running = discounts.running(subscription, subscription["discounts"], at)
    invoice = counted(
        store,
        customer,
        invoice_lines,
        automatic_tax=_automatic_tax(subscription),
        customer_tax_exempt=customer["tax_exempt"],
        default_tax_rates=subscription["default_tax_rates"],
        discounts=[discount["id"] for discount in running],
        days_until_due=subscription["days_until_due"],
        billing_reason=reason,
        currency=subscription["currency"],
        period_start=period[0],
        period_end=period[1],
        parent={
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": details,
        },
        collection_method=subscription["collection_method"],
    )
    discounts.end_used(subscription, invoice, at=at)
    return invoice


def _automatic_tax(subscription: Obj) -> Obj:
    # Nothing is registered anywhere: automatic tax is on, and comes to nothing.
    enabled = subscription["automatic_tax"]["enabled"]
    computed = {"status": "complete", "provider": "stripe"} if enabled else {}
    return {"status": None, "provider": None, **subscription["automatic_tax"], **computed}


def counted(
    store: Store,
    customer: Obj,
    invoice_lines: list[Obj],
    *,
    days_until_due: int | None = None,
    **fields: Any,
) -> Obj:
    """Return a customer's draft of these lines, with the customer's balance set against them."""
    invoice = new(
        "invoice",
        created=store.at,
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        **fields,
    )
    notes(invoice)["days_until_due"] = days_until_due
    for line in invoice_lines:
        line["invoice"] = invoice["id"]
    invoice["lines"] = page(invoice_lines, f"/v1/invoices/{invoice['id']}/lines")
    return count(invoice, customer["balance"])


def count(invoice: Obj, balance: int) -> Obj:
    """Sum the lines and set the customer's balance (negative = credit) against them."""
    invoice_lines = invoice["lines"]["data"]
    subtotal = sum(_before_invoice_discounts(line) for line in invoice_lines)
    inclusive = taxes.of(invoice_lines, "inclusive")
    net = sum(discounts.net(line) for line in invoice_lines)
    total = net + taxes.of(invoice_lines, "exclusive")
    due = max(0, total + balance)
    off: Counter[str] = Counter()
    for line in invoice_lines:
        off.update({one["discount"]: one["amount"] for one in line["discount_amounts"]})
    invoice.update(
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal - inclusive,
        total=total,
        total_excluding_tax=net - inclusive,
        total_discount_amounts=[{"amount": n, "discount": id_} for id_, n in off.items()],
        total_pretax_credit_amounts=[
            {"amount": n, "discount": id_, "type": "discount"} for id_, n in off.items()
        ],
        total_taxes=taxes.summed(invoice_lines),
        amount_due=due,
        amount_remaining=due,
        starting_balance=balance,
    )
    notes(invoice)["balance_after"] = total + balance - due
    return invoice


def _before_invoice_discounts(line: Obj) -> int:
    """Return a line's amount with its own discounts taken off, not the invoice's."""
    own: list[int] = [
        one["amount"] for one in line["discount_amounts"] if one["discount"] in line["discounts"]
    ]
    return int(line["amount"]) - sum(own)
