"""One customer with what it takes to subscribe, change and pay."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Json
from config.contract.ids import new_id

_numbers = count(1)


@dataclass
class Subscriber:
    """A customer at Stripe, driven through the gateway."""

    gateway: StripeGateway
    org_id: str = field(default_factory=lambda: new_id("org"))
    customer_id: str = ""

    def __post_init__(self) -> None:
        """Make the customer."""
        self.customer_id = self.gateway.ensure_customer(
            org_id=self.org_id, email="o@example.com", name="O", idempotency_key=self.key()
        )

    def key(self) -> str:
        """Return a fresh idempotency key."""
        return f"{self.org_id}:{next(_numbers)}"

    def price(self, plan: str) -> str:
        """Return the id of a plan's price."""
        found = self.gateway.find_price(lookup_key=plan)
        assert found is not None
        price: str = found["id"]
        return price

    def subscribe(self, plan: str, **more: Any) -> Json:
        """Subscribe as the product does."""
        return self.gateway.create_subscription(
            customer_id=self.customer_id,
            price_id=self.price(plan),
            org_id=self.org_id,
            idempotency_key=self.key(),
            **more,
        )

    def subscribe_now(self, plan: str, **more: Any) -> Json:
        """Subscribe and pay at once."""
        return self.subscribe(plan, payment_behavior="error_if_incomplete", **more)

    def change(self, subscription: Json, plan: str, **more: Any) -> Json:
        """Change now."""
        return self.gateway.change_subscription(
            **self._change(subscription, plan), idempotency_key=self.key(), **more
        )

    def preview(self, subscription: Json, plan: str, **more: Any) -> Json:
        """Ask what a change costs."""
        return self.gateway.preview_change(**self._change(subscription, plan), **more)

    def _change(self, subscription: Json, plan: str) -> Json:
        return {
            "subscription_id": subscription["id"],
            "item_id": subscription["items"]["data"][0]["id"],
            "price_id": self.price(plan),
        }

    def use_card(self, name: str) -> str:
        """Attach a test card and make it the default."""
        card = self.gateway.attach_payment_method(
            customer_id=self.customer_id, payment_method_id=name, idempotency_key=self.key()
        )
        self.gateway.set_default_payment_method(
            customer_id=self.customer_id,
            payment_method_id=card["id"],
            idempotency_key=self.key(),
        )
        id_: str = card["id"]
        return id_

    def invoices(self) -> list[Json]:
        """Return all invoices, newest first."""
        found: list[Json] = self.gateway.list_invoices(customer_id=self.customer_id, limit=100)[
            "data"
        ]
        return found

    def invoiced(self) -> list[tuple[int, str]]:
        """Return total and status of each invoice, newest first."""
        return [(invoice["total"], invoice["status"]) for invoice in self.invoices()]

    def delete_customer(self) -> None:
        """Delete the customer, which the product itself never does."""
        self.gateway._call("customers.delete", lambda c: c.v1.customers.delete(self.customer_id))
