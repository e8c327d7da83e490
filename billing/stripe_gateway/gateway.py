"""The gateway itself: all areas over one transport."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing.stripe_gateway.catalogue import Catalogue
from billing.stripe_gateway.customers import Customers
from billing.stripe_gateway.invoices import Invoices
from billing.stripe_gateway.subscriptions import Subscriptions
from billing.stripe_gateway.transport import BUDGET_SECONDS, Transport


class StripeGateway(Customers, Subscriptions, Invoices, Catalogue):
    """Stripe, or whatever speaks its wire at `STRIPE_BASE_URL`."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)

    @contextmanager
    def session(self, *, seconds: float = BUDGET_SECONDS) -> Iterator[None]:
        """Hold the process's slot and one time budget for all calls of one request.

        Raises Unavailable (503) when the slot is taken. A single call does this by itself.
        """
        with self._transport.session(seconds=seconds):
            yield
