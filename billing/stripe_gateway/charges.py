"""What paid an invoice, and what became of that money since.

An invoice names no charge: its payments name payment intents, and those a charge each.
The way back from a charge, a refund or a dispute is its payment intent.
"""

from typing import Any

from billing.stripe_gateway.transport import Json, Transport

_PAGE = 100


class Charges:
    """Charges, refunds, disputes and credit notes: read only. Staff make them at Stripe."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._call = transport.call

    def list_charges_of_invoice(self, *, invoice_id: str) -> list[Json]:
        """Return the charges that paid an invoice. What was paid past Stripe has none."""
        params: Any = {
            "invoice": invoice_id,
            "status": "paid",
            "limit": _PAGE,
            "expand": ["data.payment.payment_intent.latest_charge"],
        }
        with self._transport.session():
            listed = self._call(
                "invoice_payments.list", lambda c: c.v1.invoice_payments.list(params)
            )["data"]
            charges = [self._charge_of(one["payment"]) for one in listed]
        return [one for one in charges if one is not None]

    def _charge_of(self, payment: Json) -> Json | None:
        intent = payment.get("payment_intent")
        if intent:
            charge: Json | None = intent["latest_charge"]
            return charge
        # A charge of its own is named only where it has no payment intent.
        bare = payment.get("charge")
        return self.retrieve_charge(charge_id=bare) if bare else None

    def list_invoices_paid_by(self, *, payment_intent_id: str) -> list[str]:
        """Return the ids of the invoices that a payment intent pays, or was to pay."""
        params: Any = {
            "payment": {"type": "payment_intent", "payment_intent": payment_intent_id},
            "limit": _PAGE,
        }
        listed = self._call("invoice_payments.list", lambda c: c.v1.invoice_payments.list(params))[
            "data"
        ]
        return [one["invoice"] for one in listed]

    def list_charges(self, *, customer_id: str) -> list[Json]:
        """Return the newest hundred charges of a customer, newest first."""
        params: Any = {"customer": customer_id, "limit": _PAGE}
        found: list[Json] = self._call("charges.list", lambda c: c.v1.charges.list(params))["data"]
        return found

    def list_disputes(self, *, charge_id: str) -> list[Json]:
        """Return the disputes of a charge, newest first."""
        params: Any = {"charge": charge_id, "limit": _PAGE}
        found: list[Json] = self._call("disputes.list", lambda c: c.v1.disputes.list(params))[
            "data"
        ]
        return found

    def retrieve_charge(self, *, charge_id: str) -> Json:
        """Return one charge."""
        return self._call("charges.retrieve", lambda c: c.v1.charges.retrieve(charge_id))

    def retrieve_refund(self, *, refund_id: str) -> Json:
        """Return one refund."""
        return self._call("refunds.retrieve", lambda c: c.v1.refunds.retrieve(refund_id))

    def retrieve_dispute(self, *, dispute_id: str) -> Json:
        """Return one dispute."""
        return self._call("disputes.retrieve", lambda c: c.v1.disputes.retrieve(dispute_id))

    def retrieve_credit_note(self, *, credit_note_id: str) -> Json:
        """Return one credit note."""
        return self._call(
            "credit_notes.retrieve", lambda c: c.v1.credit_notes.retrieve(credit_note_id)
        )

    def retrieve_invoice_payment(self, *, invoice_payment_id: str) -> Json:
        """Return one payment of an invoice."""
        return self._call(
            "invoice_payments.retrieve",
            lambda c: c.v1.invoice_payments.retrieve(invoice_payment_id),
        )
