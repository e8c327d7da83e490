"""Invoices converge as subscriptions do: fetched under a number, applied if it is the newest.

What was paid is part of it: the charges, what was refunded of them, and their disputes
are fetched under the number of their invoice, whichever of them an event was about.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from billing import numbering
from billing.convergence import instant, lock_organization
from billing.models import InvoiceRef
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.clients import clients

logger = structlog.get_logger("metergate.convergence")
Json = dict[str, Any]

#: The states of a dispute, the one first that most wants somebody to look.
_BY_URGENCY = (
    *InvoiceRef.DISPUTE_OPEN,
    "lost",
    "won",
    "warning_closed",
    "prevented",
)


@dataclass(frozen=True, slots=True)
class Payments:
    """The charges that paid an invoice, and every dispute of them."""

    charges: tuple[Json, ...] = ()
    disputes: tuple[Json, ...] = ()

    @property
    def refunded(self) -> int:
        """What went back to cards; a refund that failed is not counted by Stripe."""
        return sum(one["amount_refunded"] for one in self.charges)

    @property
    def disputed(self) -> int:
        """What cardholders want, or wanted, back."""
        return sum(one["amount"] for one in self.disputes)

    @property
    def dispute_status(self) -> str:
        """The most urgent state; a word that is new at Stripe comes first. Empty: no dispute."""
        states = [str(one["status"]) for one in self.disputes]
        return min(states, key=_urgency, default="")


def _urgency(status: str) -> int:
    return _BY_URGENCY.index(status) if status in _BY_URGENCY else -1


@dataclass(frozen=True, slots=True)
class FetchedInvoice:
    """An invoice as Stripe had it after `number` was taken; None where it is gone.

    `payments` is None where they were not looked at: what is known of them then stays.
    """

    invoice_id: str
    number: int
    invoice: Json | None
    payments: Payments | None = None

    @property
    def subscription_id(self) -> str:
        """The subscription it bills; empty where it bills none."""
        return str(_details(self.invoice or {}).get("subscription") or "")


def take_number(invoice_id: str) -> int:
    """Number a fetch that is about to begin (billing.numbering)."""
    return numbering.take_number(InvoiceRef, invoice_id)


def fetch(invoice_id: str, *, number: int | None = None) -> FetchedInvoice:
    """Fetch an invoice and what paid it. Raises the gateway's errors. No transaction open."""
    number = take_number(invoice_id) if number is None else number
    gateway: Gateway = clients.stripe
    with gateway.session():
        try:
            invoice = gateway.retrieve_invoice(invoice_id=invoice_id)
        except StripeNotFound:
            return FetchedInvoice(invoice_id, number, None)
        charges: list[Json] = []
        if _was_paid(invoice):
            charges = gateway.list_charges_of_invoice(invoice_id=invoice_id)
        return FetchedInvoice(invoice_id, number, invoice, _with_disputes(gateway, charges))


def fetch_latest(*, customer_id: str, limit: int) -> list[FetchedInvoice]:
    """Fetch a customer's newest invoices for comparing only: without numbers, in few calls.

    Raises the gateway's errors. No transaction open.
    """
    gateway: Gateway = clients.stripe
    with gateway.session():
        listed = gateway.list_invoices(customer_id=customer_id, limit=limit, with_payments=True)
        charges = {
            one["payment_intent"]: one
            for one in gateway.list_charges(customer_id=customer_id)
            if one["payment_intent"] and one["status"] == "succeeded"
        }
        return [
            FetchedInvoice(one["id"], 0, one, _payments_among(gateway, one, charges))
            for one in listed["data"]
        ]


def apply(fetched: FetchedInvoice) -> str | None:
    """Write a fetch down unless a newer one is; returns the organisation it belongs to.

    Runs inside the caller's transaction. One of a customer that is nobody's yet is
    kept without an organisation.
    """
    invoice = fetched.invoice
    organization = None
    if invoice is not None:
        organization = lock_organization(
            customer_id=str(invoice["customer"]),
            org_id=(_details(invoice).get("metadata") or {}).get("org_id"),
        )
    ref = InvoiceRef.objects.select_for_update().get(stripe_invoice_id=fetched.invoice_id)
    ref.org_id = ref.org_id or (organization.org_id if organization else "")
    if fetched.number > ref.fetch_applied:
        ref.fetch_applied = fetched.number
        ref.updated_at = clock.now()
        if invoice is None:
            ref.status = InvoiceRef.DELETED
        else:
            _write(ref, invoice)
        if fetched.payments is not None:
            _write_payments(ref, fetched.payments)
    ref.save()
    if not ref.org_id:
        logger.warning("invoice_unlinked", invoice=fetched.invoice_id)
    return ref.org_id or None


def note_failed_refund(invoice_id: str) -> None:
    """Write down that a refund of the invoice came back. Runs in the caller's transaction.

    A failed refund stays failed, so this needs no number and is written once.
    """
    failed = InvoiceRef.objects.filter(stripe_invoice_id=invoice_id, refund_failed_at=None)
    if failed.update(refund_failed_at=clock.now()):
        logger.error("refund_failed", invoice=invoice_id)


def _was_paid(invoice: Json) -> bool:
    return bool(invoice["amount_paid"] or invoice["amount_overpaid"])


def _with_disputes(gateway: Gateway, charges: Iterable[Json]) -> Payments:
    charges = tuple(charges)
    disputed = [one for one in charges if one["disputed"]]
    disputes = [
        dispute for one in disputed for dispute in gateway.list_disputes(charge_id=one["id"])
    ]
    return Payments(charges, tuple(disputes))


def _payments_among(gateway: Gateway, invoice: Json, charges: dict[str, Json]) -> Payments | None:
    """Return what paid an invoice, out of the customer's charges; None where one is too old."""
    intents = [
        one["payment"].get("payment_intent")
        for one in (invoice.get("payments") or {}).get("data", [])
        if one["status"] == "paid"
    ]
    if any(one not in charges for one in intents):
        return None
    return _with_disputes(gateway, (charges[one] for one in intents))


def _write(ref: InvoiceRef, invoice: Json) -> None:
    ref.stripe_customer_id = str(invoice["customer"])
    ref.stripe_subscription_id = _details(invoice).get("subscription") or ""
    ref.status = invoice["status"]
    ref.total = invoice["total"]
    ref.amount_due = invoice["amount_due"]
    ref.amount_paid = invoice["amount_paid"]
    ref.amount_credited = (
        invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    )
    ref.currency = invoice["currency"]
    ref.hosted_invoice_url = invoice.get("hosted_invoice_url") or ""
    ref.created_at = instant(invoice["created"])


def _write_payments(ref: InvoiceRef, payments: Payments) -> None:
    before = (ref.amount_refunded, ref.dispute_status)
    ref.amount_refunded = payments.refunded
    ref.amount_disputed = payments.disputed
    ref.dispute_status = payments.dispute_status
    facts = {"tenant_id": ref.org_id or None, "invoice": ref.stripe_invoice_id}
    if ref.amount_refunded != before[0]:
        logger.warning("invoice_refunded", refunded=ref.amount_refunded, **facts)
    if ref.dispute_status != before[1]:
        # Money that is wanted back has a day by which somebody must have answered.
        is_open = ref.dispute_status in InvoiceRef.DISPUTE_OPEN or ref.dispute_status == "lost"
        tell = logger.error if is_open else logger.warning
        tell("invoice_disputed", status=ref.dispute_status, amount=ref.amount_disputed, **facts)


def _details(invoice: Json) -> Json:
    return (invoice.get("parent") or {}).get("subscription_details") or {}
