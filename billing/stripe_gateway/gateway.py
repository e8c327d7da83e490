"""The gateway itself: all areas over one transport."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing.stripe_gateway.catalogue import Catalogue
from billing.stripe_gateway.charges import Charges
from billing.stripe_gateway.customers import Customers
from billing.stripe_gateway.invoices import Invoices
from billing.stripe_gateway.subscriptions import Subscriptions
from billing.stripe_gateway.transport import BUDGET_SECONDS, Transport


class StripeGateway(Customers, Subscriptions, Invoices, Charges, Catalogue):
    """Stripe, or whatever speaks its wire at `STRIPE_BASE_URL`."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)

    @contextmanager
    def session(
        self, *, org_id: str | None = None, seconds: float = BUDGET_SECONDS
    ) -> Iterator[None]:
        """Hold a turn at Stripe and one time budget for all calls of one request.

        `org_id` is whose share it counts in. Raises Unavailable (503) when no turn
        comes in time. A single call does this by itself.
        """
        with self._transport.session(org_id=org_id, seconds=seconds):
            yield

    @contextmanager
    def place(self, *, org_id: str) -> Iterator[None]:
        """Hold a place among those who wait, without asking Stripe yet.

        Raises Unavailable (503) where none is free.
        """
        with self._transport.place(org_id=org_id):
            yield
