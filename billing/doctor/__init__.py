"""Is Stripe set up as we need it? Looks at everything, live or sandbox, and changes nothing."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime

from billing.doctor import account, endpoints, portal, prices, subscribers
from billing.doctor.endpoints import EVENTS
from billing.doctor.findings import Finding
from billing.stripe_gateway import Gateway
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError, InternalError

__all__ = ["EVENTS", "Finding", "examine"]


def examine(
    *, handled: Collection[str] = EVENTS, real_now: Callable[[], datetime] = clock.real_now
) -> list[Finding]:
    """Return what was found, in the order to mend it. Holds no secret.

    `handled` are the event types our endpoint must be sent. An error of Stripe's
    is a finding, not an exception.
    """
    found = [*account.mode(), *account.secrets()]
    gateway: Gateway = clients.stripe
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("key", lambda: account.key(gateway)),
        ("account", lambda: account.account(gateway)),
        ("clock", lambda: account.clocks(gateway, real_now)),
        ("webhook endpoint", lambda: endpoints.endpoints(gateway, frozenset(handled))),
        ("prices", lambda: prices.prices(gateway)),
        ("overage prices", lambda: prices.overages(gateway)),
        ("subscribers' prices", lambda: subscribers.on_no_plan(gateway)),
        ("portal", lambda: portal.portal(gateway)),
        ("paid twice", subscribers.paid_twice),
    ]
    for what, look in looks:
        try:
            found += list(look())
        except ApiError as error:
            found.append(Finding(what, False, _said(error)))
    return found


def _said(error: ApiError) -> str:
    if isinstance(error, InternalError):
        return "Stripe refuses the key"
    return f"could not be looked at: {error.message} ({error.code})"
