"""Which lane a request takes, and how large its body may be."""

from typing import NamedTuple

from config.contract.bodies import BODY_CAP
from usage.views import BATCH_CAP
from webhooks.views import EVENT_CAP

HOT, STRIPE, WIDE, MACHINE = "hot", "stripe", "wide", "machine"


class Route(NamedTuple):
    """How one path is treated: its lane, its cap in bytes, and whether it shares its callers'
    place with what else they ask for (`apart`: a flood elsewhere does not stand before it)."""

    lane: str
    cap: int
    apart: bool = False


_OF_POST = {
    "/api/quota/check": Route(HOT, BODY_CAP),
    "/api/v1/usage": Route(HOT, BODY_CAP),
    "/api/v1/usage/batch": Route(WIDE, BATCH_CAP),
    "/api/webhooks/stripe": Route(HOT, EVENT_CAP, apart=True),
}
#: Asked by machines that watch us; none of it may wait for customers.
_OF_MACHINES = {path: Route(MACHINE, BODY_CAP) for path in ("/healthz", "/readyz", "/metrics")}
#: What may ask Stripe, and then waits for as long as that takes.
_OF_STRIPE = (
    "/api/signup",
    "/api/plans/",
    "/api/invoices",
    "/api/payments/",
    "/portal/",
    "/admin/acts/",
)
_API = "/api/"


def route_of(method: str, path: str, *, form_cap: int) -> Route:
    """Return how a request is treated; `form_cap` is for the bodies of pages' forms."""
    route = _OF_MACHINES.get(path)
    if route is None and method == "POST":
        route = _OF_POST.get(path)
    if route is None:
        lane = STRIPE if path.startswith(_OF_STRIPE) else WIDE
        route = Route(lane, BODY_CAP if path.startswith(_API) else form_cap)
    return route
