"""What somebody does with a payment in Stripe's dashboard: refund, credit, dispute."""

from typing import Any

import stripe

from billing.stripe_gateway import API_VERSION
from tests.sandbox.server import Control


class Desk:
    """Stripe's own API beside the product's gateway, which refunds nobody."""

    def __init__(self, sandbox: Control) -> None:
        url = sandbox.url
        self._sandbox = sandbox
        self.client = stripe.StripeClient(
            sandbox.api_key,
            stripe_version=API_VERSION,
            base_addresses={"api": url, "files": url, "connect": url, "meter_events": url},
        )

    def charge_of(self, invoice_id: str) -> dict[str, Any]:
        """Return the charge that paid an invoice, as this version of the API leads to it."""
        paid = self.client.v1.invoice_payments.list(
            {
                "invoice": invoice_id,
                "status": "paid",
                "expand": ["data.payment.payment_intent.latest_charge"],
            }
        )
        [payment] = _json(paid)["data"]
        found: dict[str, Any] = payment["payment"]["payment_intent"]["latest_charge"]
        return found

    def refund(self, invoice_id: str, amount: int | None = None) -> dict[str, Any]:
        """Refund an invoice's charge, all of it or an amount."""
        params: Any = {"charge": self.charge_of(invoice_id)["id"]}
        if amount is not None:
            params["amount"] = amount
        return _json(self.client.v1.refunds.create(params))

    def credit(self, invoice_id: str, amount: int, **more: Any) -> dict[str, Any]:
        """Write a credit note of an invoice."""
        params: Any = {"invoice": invoice_id, "amount": amount, **more}
        return _json(self.client.v1.credit_notes.create(params))

    def void_credit(self, note_id: str) -> dict[str, Any]:
        """Take a credit note back."""
        return _json(self.client.v1.credit_notes.void_credit_note(note_id))

    def dispute(self, invoice_id: str, **more: Any) -> dict[str, Any]:
        """Let the cardholder dispute an invoice's charge."""
        return self._sandbox.dispute(self.charge_of(invoice_id)["id"], **more)

    def answer(self, dispute_id: str, evidence: str) -> dict[str, Any]:
        """Answer a dispute with `winning_evidence` or `losing_evidence`."""
        params: Any = {"evidence": {"uncategorized_text": evidence}}
        return _json(self.client.v1.disputes.update(dispute_id, params))

    def rename(self, customer_id: str, **fields: Any) -> dict[str, Any]:
        """Edit a customer."""
        params: Any = fields
        return _json(self.client.v1.customers.update(customer_id, params))


def _json(answered: Any) -> dict[str, Any]:
    data: dict[str, Any] = answered.last_response.data
    return data
