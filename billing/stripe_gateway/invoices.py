"""Invoices, Checkout and portal sessions."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from billing.stripe_gateway.customers import keyed
from billing.stripe_gateway.errors import CardDeclined
from billing.stripe_gateway.transport import Json, Transport

InvoiceStatus = Literal["draft", "open", "paid", "uncollectible", "void"]


class Invoices:
    """What was billed, and the pages on which Stripe collects it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._call = transport.call

    def list_invoices(
        self,
        *,
        customer_id: str,
        limit: int = 10,
        starting_after: str | None = None,
        status: InvoiceStatus | None = None,
        with_payments: bool = False,
    ) -> Json:
        """Return one page (`data`, `has_more`), newest first; `payments` inside where asked for.

        Raises StripeNotFound with `param="starting_after"` for a cursor Stripe does not know.
        """
        params: Any = {"customer": customer_id, "limit": limit}
        if starting_after is not None:
            params["starting_after"] = starting_after
        if status is not None:
            params["status"] = status
        if with_payments:
            params["expand"] = ["data.payments"]
        return self._call("invoices.list", lambda c: c.v1.invoices.list(params))

    def list_drafts(self, *, customer_id: str) -> list[Json]:
        """Return a customer's invoices that are not finalised, newest first."""
        return self._transport.all_of(
            "invoices.list",
            {"customer": customer_id, "status": "draft"},
            lambda c, page: c.v1.invoices.list(page),
        )

    def retrieve_invoice(self, *, invoice_id: str) -> Json:
        """Return one invoice with its first page of lines."""
        return self._call("invoices.retrieve", lambda c: c.v1.invoices.retrieve(invoice_id))

    def pay_invoice(
        self, *, invoice_id: str, idempotency_key: str, payment_method_id: str | None = None
    ) -> Json:
        """Collect an open invoice now.

        Raises CardDeclined; where the bank wants the customer, with the invoice's page as `url`.
        """
        params: Any = {"payment_method": payment_method_id} if payment_method_id else {}
        with self._transport.session():
            try:
                return self._call(
                    "invoices.pay",
                    lambda c: c.v1.invoices.pay(invoice_id, params, keyed(idempotency_key)),
                )
            except CardDeclined as declined:
                if declined.reason != "authentication_required":
                    raise
            page = self.retrieve_invoice(invoice_id=invoice_id)["hosted_invoice_url"]
            raise CardDeclined("authentication_required", page)

    def void_invoice(self, *, invoice_id: str, idempotency_key: str) -> Json:
        """Take an open invoice back."""
        return self._call(
            "invoices.void_invoice",
            lambda c: c.v1.invoices.void_invoice(invoice_id, {}, keyed(idempotency_key)),
        )

    def finalize_invoice(self, *, invoice_id: str, idempotency_key: str) -> Json:
        """draft → open, to be collected by Stripe. Raises StripeRefused for any other."""
        params: Any = {"auto_advance": True}
        return self._call(
            "invoices.finalize_invoice",
            lambda c: c.v1.invoices.finalize_invoice(invoice_id, params, keyed(idempotency_key)),
        )

    def create_invoice_item(
        self,
        *,
        customer_id: str,
        invoice_id: str,
        currency: str,
        unit_amount: str,
        quantity: int,
        description: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> Json:
        """Put `quantity` units at `unit_amount` (minor units, decimal text) on a draft."""
        params: Any = {
            "customer": customer_id,
            "invoice": invoice_id,
            "currency": currency,
            "unit_amount_decimal": unit_amount,
            "quantity": quantity,
            "description": description,
            "metadata": dict(metadata),
        }
        return self._call(
            "invoice_items.create",
            lambda c: c.v1.invoice_items.create(params, keyed(idempotency_key)),
        )

    def list_invoice_items(self, *, customer_id: str, pending: bool = False) -> list[Json]:
        """Return the invoice items of a customer, newest first; `pending`: on no invoice yet."""
        params: Json = {"customer": customer_id} | ({"pending": True} if pending else {})
        return self._transport.all_of(
            "invoice_items.list", params, lambda c, page: c.v1.invoice_items.list(page)
        )

    def create_invoice(
        self,
        *,
        customer_id: str,
        currency: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> Json:
        """Make an empty draft that waits to be finalised; pending invoice items stay out of it."""
        params: Any = {
            "customer": customer_id,
            "currency": currency,
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "metadata": dict(metadata),
        }
        return self._call(
            "invoices.create", lambda c: c.v1.invoices.create(params, keyed(idempotency_key))
        )

    def create_checkout_session(
        self,
        *,
        customer_id: str,
        price_id: str,
        org_id: str,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
        trial_end: int | None = None,
        trial_days: int = 0,
        expires_at: int | None = None,
        metered_price_ids: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Make the page on which a customer subscribes; the subscription exists afterwards.

        `trial_end` (Unix seconds) has to be 48 hours ahead. `{CHECKOUT_SESSION_ID}` in
        `success_url` is filled in by Stripe.
        """
        data: Json = {"billing_mode": {"type": "flexible"}, "metadata": {"org_id": org_id}}
        if trial_end is not None:
            data["trial_end"] = trial_end
        elif trial_days:
            data["trial_period_days"] = trial_days
        if trial_end is not None or trial_days:
            data["trial_settings"] = {"end_behavior": {"missing_payment_method": "pause"}}
        params: Any = {
            "mode": "subscription",
            "customer": customer_id,
            "line_items": [
                {"price": price_id, "quantity": 1},
                *({"price": metered} for metered in metered_price_ids),
            ],
            "client_reference_id": org_id,
            # Not copied to the subscription by Stripe, hence in both places.
            "metadata": {**(metadata or {}), "org_id": org_id},
            "payment_method_collection": "always",
            "subscription_data": data,
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        if expires_at is not None:
            params["expires_at"] = expires_at
        return self._call(
            "checkout.sessions.create",
            lambda c: c.v1.checkout.sessions.create(params, keyed(idempotency_key)),
        )

    def retrieve_checkout_session(self, *, session_id: str) -> Json:
        """Return one Checkout session."""
        return self._call(
            "checkout.sessions.retrieve", lambda c: c.v1.checkout.sessions.retrieve(session_id)
        )

    def list_open_checkout_sessions(self, *, customer_id: str) -> list[Json]:
        """Return a customer's pages that can still be completed, newest first (100 at most)."""
        params: Any = {"customer": customer_id, "status": "open", "limit": 100}
        found: list[Json] = self._call(
            "checkout.sessions.list", lambda c: c.v1.checkout.sessions.list(params)
        )["data"]
        return found

    def expire_checkout_session(self, *, session_id: str, idempotency_key: str) -> Json:
        """Close an open session, so that another one can take its place."""
        return self._call(
            "checkout.sessions.expire",
            lambda c: c.v1.checkout.sessions.expire(session_id, {}, keyed(idempotency_key)),
        )

    def create_portal_session(
        self,
        *,
        customer_id: str,
        return_url: str,
        configuration_id: str,
        idempotency_key: str,
        flow: Literal["payment_method_update"] | None = "payment_method_update",
    ) -> Json:
        """Return a short-lived portal session; its `url` is for the customer only."""
        params: Any = {
            "customer": customer_id,
            "return_url": return_url,
            "configuration": configuration_id,
        }
        if flow is not None:
            params["flow_data"] = {"type": flow}
        return self._call(
            "billing_portal.sessions.create",
            lambda c: c.v1.billing_portal.sessions.create(params, keyed(idempotency_key)),
        )

    def list_portal_configurations(self) -> list[Json]:
        """Return the active portal configurations."""
        return self._transport.all_of(
            "billing_portal.configurations.list",
            {"active": True},
            lambda c, page: c.v1.billing_portal.configurations.list(page),
        )

    def create_portal_configuration(self, *, name: str, idempotency_key: str) -> Json:
        """Make a configuration for cards and invoices; plans change through us, not there."""
        params: Any = {
            "name": name,
            "features": {
                "payment_method_update": {"enabled": True},
                "invoice_history": {"enabled": True},
                "subscription_update": {"enabled": False},
                "subscription_cancel": {"enabled": False},
            },
        }
        return self._call(
            "billing_portal.configurations.create",
            lambda c: c.v1.billing_portal.configurations.create(params, keyed(idempotency_key)),
        )
