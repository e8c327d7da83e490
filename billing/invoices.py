"""Invoices converge as subscriptions do: fetched under a number, applied if it is the newest."""

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


@dataclass(frozen=True, slots=True)
class FetchedInvoice:
    """An invoice as Stripe had it after `number` was taken; None where it is gone."""

    invoice_id: str
    number: int
    invoice: Json | None

    @property
    def subscription_id(self) -> str:
        """The subscription it bills; empty where it bills none."""
        return str(_details(self.invoice or {}).get("subscription") or "")


def take_number(invoice_id: str) -> int:
    """Number a fetch that is about to begin (billing.numbering)."""
    return numbering.take_number(InvoiceRef, invoice_id)


def fetch(invoice_id: str, *, number: int | None = None) -> FetchedInvoice:
    """Fetch an invoice. Raises the gateway's errors. No transaction open."""
    number = take_number(invoice_id) if number is None else number
    gateway: Gateway = clients.stripe
    try:
        found = gateway.retrieve_invoice(invoice_id=invoice_id)
    except StripeNotFound:
        return FetchedInvoice(invoice_id, number, None)
    return FetchedInvoice(invoice_id, number, found)


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
    ref.save()
    if not ref.org_id:
        logger.warning("invoice_unlinked", invoice=fetched.invoice_id)
    return ref.org_id or None


def _write(ref: InvoiceRef, invoice: Json) -> None:
    ref.stripe_customer_id = str(invoice["customer"])
    ref.stripe_subscription_id = _details(invoice).get("subscription") or ""
    ref.status = invoice["status"]
    ref.total = invoice["total"]
    ref.amount_due = invoice["amount_due"]
    ref.currency = invoice["currency"]
    ref.hosted_invoice_url = invoice.get("hosted_invoice_url") or ""
    ref.created_at = instant(invoice["created"])


def _details(invoice: Json) -> Json:
    return (invoice.get("parent") or {}).get("subscription_details") or {}
