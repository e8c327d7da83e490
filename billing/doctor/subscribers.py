"""What stands wrong with subscriptions, however well Stripe is set up."""

from collections.abc import Iterator

from billing.doctor import strangers
from billing.doctor.findings import Finding
from billing.models import Subscription
from billing.stripe_gateway import Gateway
from config.contract import clock

#: So many organisations are named in one line.
_MOST_NAMED = 20


def paid_twice() -> Iterator[Finding]:
    """Name the organisations that pay for more than one subscription: one of them grants."""
    several = list(Subscription.objects.paid_twice(now=clock.now()))
    named = "; ".join(map(str, several[:_MOST_NAMED]))
    more = f"; and {len(several) - _MOST_NAMED} more" if len(several) > _MOST_NAMED else ""
    yield Finding("paid twice", not several, f"{named}{more}" if several else "nobody")


def on_no_plan(gateway: Gateway) -> Iterator[Finding]:
    """Name the subscribers whose plan cannot be told: their price is of no plan."""
    on_none = list(strangers.subscriptions_on_no_plan(gateway))
    for stranger in on_none:
        yield Finding("subscriber on a price of no plan", False, str(stranger))
    if not on_none:
        yield Finding("subscribers' prices", True, "each is a plan's")
