"""What the steps that may charge have in common: the price, and what a declined card is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from billing import known_prices, payments, prices
from billing.models import Plan
from billing.stripe_gateway import CardDeclined, ItemChange, Json, StripeRefused
from config.contract.errors import ApiError


@dataclass(frozen=True, slots=True)
class Sold:
    """The prices at Stripe that a plan is sold at: its own, and those of its overage."""

    price_id: str
    metered: tuple[str, ...]

    def further_items(self, subscription: Json) -> list[ItemChange]:
        """Return what to change besides the plan's item, so that overage is sold as well.

        Add-ons, metered ones too, are left alone: only prices of plans come and go.
        """
        items = subscription["items"]["data"]
        known = known_prices.identified(item["price"] for item in items)
        held = [
            item
            for item in items
            if item["price"]["id"] in known and not known[item["price"]["id"]].is_plans_own
        ]
        prices_held = {item["price"]["id"] for item in held}
        gone: list[ItemChange] = [
            {"id": item["id"], "deleted": True}
            for item in held
            if item["price"]["id"] not in self.metered
        ]
        new: list[ItemChange] = [{"price": one} for one in self.metered if one not in prices_held]
        return [*gone, *new]


@contextmanager
def selling(plan: Plan) -> Iterator[Sold]:
    """Give the plan's prices; forget them where Stripe refuses a request for one.

    Raises ApiError (502 STRIPE_ERROR) where Stripe has no such price.
    """
    try:
        yield Sold(prices.price_id(plan), tuple(prices.metered_price_ids(plan)))
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
