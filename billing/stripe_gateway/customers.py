"""Customers and their cards."""

from typing import Any

import structlog

from billing.stripe_gateway.transport import Json, Transport

logger = structlog.get_logger(__name__)


def keyed(key: str) -> Any:
    """Return the request options of a write. Raises ValueError for an unusable key."""
    if not 1 <= len(key) <= 255:
        raise ValueError("An idempotency key has 1 to 255 characters")
    return {"idempotency_key": key}


class Customers:
    """One customer per organisation, known by its id, or by address and `metadata.org_id`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._call = transport.call

    def ensure_customer(
        self,
        *,
        org_id: str,
        email: str,
        name: str,
        idempotency_key: str,
        customer_id: str | None = None,
    ) -> str:
        """Return the id of the organisation's customer, made or brought up to date.

        A known customer is updated. An unknown one is looked for, since an earlier
        try may have made it, and made otherwise.
        """
        params: Any = {"email": email, "name": name, "metadata": {"org_id": org_id}}
        with self._transport.session():
            known = customer_id or self._made_before(org_id, email)
            if known is not None:
                options = keyed(f"{idempotency_key}:update")
                made = self._call(
                    "customers.update",
                    lambda c: c.v1.customers.update(known, params, options),
                )
            else:
                made = self._call(
                    "customers.create",
                    lambda c: c.v1.customers.create(params, keyed(idempotency_key)),
                )
        found: str = made["id"]
        return found

    def _made_before(self, org_id: str, email: str) -> str | None:
        """Find what an earlier try made, whose answer was lost.

        Listed by address, not searched by metadata: Stripe's search lags behind by
        up to a minute, in which a retry would make a second customer.
        """
        listed = self._transport.all_of(
            "customers.list", {"email": email}, lambda c, page: c.v1.customers.list(page)
        )
        found = [one for one in listed if (one["metadata"] or {}).get("org_id") == org_id]
        if len(found) > 1:
            logger.error("stripe_customer_twice", org_id=org_id, ids=[c["id"] for c in found])
        oldest = min(found, key=lambda customer: customer["created"], default=None)
        return None if oldest is None else oldest["id"]

    def retrieve_customer(self, *, customer_id: str) -> Json:
        """Return the customer; a deleted one has `deleted: true`."""
        return self._call("customers.retrieve", lambda c: c.v1.customers.retrieve(customer_id))

    def update_customer(
        self, *, customer_id: str, name: str, email: str, idempotency_key: str
    ) -> Json:
        """Rename a customer and change its address. Raises StripeNotFound for a deleted one."""
        params: Any = {"email": email, "name": name}
        return self._call(
            "customers.update",
            lambda c: c.v1.customers.update(customer_id, params, keyed(idempotency_key)),
        )

    def set_default_payment_method(
        self, *, customer_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json:
        """Charge this card from now on."""
        params: Any = {"invoice_settings": {"default_payment_method": payment_method_id}}
        return self._call(
            "customers.update",
            lambda c: c.v1.customers.update(customer_id, params, keyed(idempotency_key)),
        )

    def attach_payment_method(
        self, *, customer_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json:
        """Attach a card without a browser (sandbox and tests)."""
        return self._call(
            "payment_methods.attach",
            lambda c: c.v1.payment_methods.attach(
                payment_method_id, {"customer": customer_id}, keyed(idempotency_key)
            ),
        )

    def detach_payment_method(self, *, payment_method_id: str, idempotency_key: str) -> Json:
        """Take a card away for good."""
        return self._call(
            "payment_methods.detach",
            lambda c: c.v1.payment_methods.detach(payment_method_id, {}, keyed(idempotency_key)),
        )

    def list_payment_methods(self, *, customer_id: str) -> list[Json]:
        """Return the customer's cards."""
        return self._transport.all_of(
            "payment_methods.list",
            {"customer": customer_id, "type": "card"},
            lambda c, page: c.v1.payment_methods.list(page),
        )

    def create_setup_intent(self, *, customer_id: str, idempotency_key: str) -> Json:
        """Begin collecting a card; `client_secret` is for the browser and for no log."""
        params: Any = {
            "customer": customer_id,
            "usage": "off_session",
            "automatic_payment_methods": {"enabled": True},
        }
        return self._call(
            "setup_intents.create",
            lambda c: c.v1.setup_intents.create(params, keyed(idempotency_key)),
        )

    def retrieve_setup_intent(self, *, setup_intent_id: str) -> Json:
        """Return one SetupIntent."""
        return self._call(
            "setup_intents.retrieve", lambda c: c.v1.setup_intents.retrieve(setup_intent_id)
        )

    def confirm_setup_intent(
        self,
        *,
        setup_intent_id: str,
        payment_method_id: str,
        return_url: str,
        idempotency_key: str,
    ) -> Json:
        """Confirm without a browser (sandbox and tests)."""
        params: Any = {"payment_method": payment_method_id, "return_url": return_url}
        return self._call(
            "setup_intents.confirm",
            lambda c: c.v1.setup_intents.confirm(setup_intent_id, params, keyed(idempotency_key)),
        )
