"""What was found out at Stripe about an object, and writing it down in one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from billing import cards, convergence, invoices
from billing.cards import NewCard
from billing.contact import following
from billing.contact.following import FetchedCustomer
from billing.convergence import Fetched
from billing.invoices import FetchedInvoice
from billing.notifications.announcing import announce_payment_failed
from config.contract import history


@dataclass(frozen=True, slots=True)
class Found:
    """Objects as Stripe had them, each under the number of its fetch.

    `card` is the one thing that is done at Stripe and not written down here;
    `org_id` says whom it is about where nothing else does; the owners of
    `unpaid` invoices are to hear of it. `failed_refunds` are ids of invoices of which a
    refund came back.
    """

    subscriptions: tuple[Fetched, ...] = ()
    invoices: tuple[FetchedInvoice, ...] = ()
    unpaid: tuple[FetchedInvoice, ...] = ()
    failed_refunds: tuple[str, ...] = ()
    customers: tuple[FetchedCustomer, ...] = ()
    card: NewCard | None = None
    org_id: str = ""

    def act(self, *, key_generation: int) -> None:
        """Do at Stripe what is to be done there. No transaction open."""
        if self.card is not None:
            cards.use(self.card, key_generation=key_generation)

    def apply(self, *, because: str) -> str:
        """Write it down; returns the organisation it is about, or an empty string.

        Runs inside the caller's transaction. Raises ChangeOnItsWay.
        """
        with history.because(because):
            orgs: list[str | None] = [following.apply(one) for one in self.customers]
            orgs += [invoices.apply(one) for one in self.invoices]
            orgs += [convergence.apply(one, because=because) for one in self.subscriptions]
            for one in self.unpaid:
                announce_payment_failed(one)
            for invoice_id in self.failed_refunds:
                invoices.note_failed_refund(invoice_id)
        return next((org_id for org_id in orgs if org_id), self.org_id)

    def renumbered(self) -> "Found":
        """Return the same as if it had been fetched just now (inside a trial transaction)."""
        return replace(
            self,
            subscriptions=tuple(
                replace(one, number=convergence.take_number(one.subscription_id))
                for one in self.subscriptions
            ),
            invoices=tuple(
                replace(one, number=invoices.take_number(one.invoice_id)) for one in self.invoices
            ),
        )


class Reader:
    """Fetches under numbers. `dry` takes none, and so writes nothing: for looking only."""

    def __init__(self, *, dry: bool = False) -> None:
        self._number = 0 if dry else None

    def subscription(self, subscription_id: str) -> Fetched:
        """Fetch a subscription. Raises the gateway's errors."""
        return convergence.fetch(subscription_id, number=self._number)

    def subscriptions(self, ids: Iterable[str]) -> tuple[Fetched, ...]:
        """Fetch several, each once, in the order of their ids: the order they are locked in."""
        return tuple(self.subscription(one) for one in sorted(set(ids)))

    def invoice(self, invoice_id: str) -> FetchedInvoice:
        """Fetch an invoice. Raises the gateway's errors."""
        return invoices.fetch(invoice_id, number=self._number)

    def invoices(self, ids: Iterable[str]) -> tuple[FetchedInvoice, ...]:
        """Fetch several, each once, in the order of their ids: the order they are locked in."""
        return tuple(self.invoice(one) for one in sorted(set(ids)))


def merged(several: Iterable[Found]) -> Found:
    """Return all of it as one."""
    parts = list(several)
    return Found(
        subscriptions=tuple(one for part in parts for one in part.subscriptions),
        invoices=tuple(one for part in parts for one in part.invoices),
        unpaid=tuple(one for part in parts for one in part.unpaid),
        failed_refunds=tuple(one for part in parts for one in part.failed_refunds),
        customers=tuple(one for part in parts for one in part.customers),
        card=next((part.card for part in parts if part.card), None),
        org_id=next((part.org_id for part in parts if part.org_id), ""),
    )
