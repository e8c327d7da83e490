"""Subscriptions that run at Stripe on a price of no plan: nobody can change theirs through us."""

from collections.abc import Iterator
from dataclasses import dataclass

from billing import known_prices
from billing.models import Organization, Subscription
from billing.stripe_gateway import Gateway
from config.contract import clock


@dataclass(frozen=True, slots=True)
class Stranger:
    """One such subscription, its prices, and whose it is (empty: nobody's here)."""

    org_id: str
    subscription_id: str
    price_ids: tuple[str, ...]

    def __str__(self) -> str:
        """Say who is on what, and what to do."""
        whose = self.org_id or "a customer who is nobody's here"
        return (
            f"{whose}: {self.subscription_id} on {', '.join(self.price_ids)}:"
            " set plan_code in the price's metadata, or change the price"
        )


def subscriptions_on_no_plan(gateway: Gateway) -> Iterator[Stranger]:
    """Ask Stripe which running subscriptions have no item that sells a plan.

    Only those on prices of no plan are looked through, so that it takes as many
    requests as there are such prices (and pages of their subscribers). Raises the
    gateway's errors.
    """
    recurring = [price for price in gateway.list_all_prices() if price["recurring"]]
    known = known_prices.find(gateway, recurring, now=clock.now())
    own = {price_id for price_id, plan_price in known.items() if plan_price.is_plans_own}
    seen: set[str] = set()
    for price in recurring:
        if price["id"] in own:
            continue
        for subscription in gateway.list_subscriptions_on(price_id=price["id"]):
            if subscription["id"] in seen or subscription["status"] in Subscription.TERMINAL:
                continue
            seen.add(subscription["id"])
            price_ids = tuple(item["price"]["id"] for item in subscription["items"]["data"])
            if own.isdisjoint(price_ids):
                owner = _owner(str(subscription["customer"]))
                yield Stranger(owner, str(subscription["id"]), price_ids)


def _owner(customer_id: str) -> str:
    owners = Organization.objects.filter(stripe_customer_id=customer_id)
    return owners.values_list("org_id", flat=True).first() or ""
