"""What events about a payment come to: the invoice that it paid is fetched again.

A charge names no invoice. Its payment intent does, by way of the invoice's payments;
what no invoice names was charged by hand at Stripe, and is none of ours.
"""

from dataclasses import replace

import structlog

from billing.models import Organization
from billing.stripe_gateway import Gateway, Json, StripeNotFound
from config.contract.clients import clients
from webhooks.found import Found, Reader

logger = structlog.get_logger("metergate.webhooks")
_FAILED = ("failed", "canceled")


def charge(read: Reader, charge_id: str) -> Found:
    """Converge the invoice that the charge paid."""
    gateway: Gateway = clients.stripe
    try:
        charged = gateway.retrieve_charge(charge_id=charge_id)
    except StripeNotFound:
        return Found()
    return _paid_by(read, gateway, charged)


def refund(read: Reader, refund_id: str) -> Found:
    """Converge the invoice of the charge; staff hear of a refund that came back."""
    gateway: Gateway = clients.stripe
    try:
        refunded = gateway.retrieve_refund(refund_id=refund_id)
    except StripeNotFound:
        return Found()
    concerned = _paid_by(read, gateway, refunded)
    if refunded["status"] not in _FAILED:
        return concerned
    ids = tuple(one.invoice_id for one in concerned.invoices)
    return replace(concerned, failed_refunds=ids)


def dispute(read: Reader, dispute_id: str) -> Found:
    """Converge the invoice of the charge that is disputed."""
    gateway: Gateway = clients.stripe
    try:
        disputed = gateway.retrieve_dispute(dispute_id=dispute_id)
    except StripeNotFound:
        return Found()
    return _paid_by(read, gateway, disputed)


def credit_note(read: Reader, credit_note_id: str) -> Found:
    """Converge the invoice that is corrected."""
    gateway: Gateway = clients.stripe
    try:
        note = gateway.retrieve_credit_note(credit_note_id=credit_note_id)
    except StripeNotFound:
        return Found()
    return Found(invoices=read.invoices([note["invoice"]]))


def payment(read: Reader, invoice_payment_id: str) -> Found:
    """Converge the invoice that was paid, in part or in full."""
    gateway: Gateway = clients.stripe
    try:
        paid = gateway.retrieve_invoice_payment(invoice_payment_id=invoice_payment_id)
    except StripeNotFound:
        return Found()
    return Found(invoices=read.invoices([paid["invoice"]]))


def _paid_by(read: Reader, gateway: Gateway, moved: Json) -> Found:
    """Return the invoices of a charge, a refund or a dispute: by its payment intent."""
    intent = moved.get("payment_intent")
    ids = gateway.list_invoices_paid_by(payment_intent_id=intent) if intent else []
    if ids:
        return Found(invoices=read.invoices(ids))
    about = moved if moved["object"] == "charge" else _charge_of(gateway, moved)
    org_id = _org_of(about.get("customer"))
    # Charged by hand at Stripe: no invoice of ours, but money of somebody who may be ours.
    logger.warning("money_of_no_invoice", object=moved["id"], tenant_id=org_id or None)
    return Found(org_id=org_id)


def _charge_of(gateway: Gateway, moved: Json) -> Json:
    charge_id = moved.get("charge")
    try:
        return gateway.retrieve_charge(charge_id=charge_id) if charge_id else {}
    except StripeNotFound:
        return {}


def _org_of(customer_id: str | None) -> str:
    known = Organization.objects.filter(stripe_customer_id=customer_id or "")
    return known.values_list("org_id", flat=True).first() or ""
