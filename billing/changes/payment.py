"""What the steps that may charge have in common: the price, and what a declined card is told."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing import payments, prices
from billing.models import Plan
from billing.stripe_gateway import CardDeclined, StripeRefused
from config.contract.errors import ApiError


@contextmanager
def selling(plan: Plan) -> Iterator[str]:
    """Give the id of the plan's price; forget it where Stripe refuses a request for it.

    Raises ApiError (502 STRIPE_ERROR) where Stripe has no such price.
    """
    try:
        yield prices.price_id(plan)
    except StripeRefused as error:
        prices.forget_if_refused(plan, error)
        raise


@contextmanager
def charging(org_id: str) -> Iterator[None]:
    """Add to `authentication_required` the page on which the customer is there for the bank.

    A refused change leaves no invoice, hence no page of its own: it is the portal,
    where setting a card up anew authenticates it for later charges. Left out where
    Stripe does not make one.
    """
    try:
        yield
    except CardDeclined as declined:
        if declined.reason != "authentication_required" or "url" in (declined.details or {}):
            raise
        raise CardDeclined(declined.reason, _page(org_id)) from None


def _page(org_id: str) -> str | None:
    try:
        return payments.open_portal(org_id=org_id, return_url=None, flow="payment_method_update")
    except ApiError:
        return None
