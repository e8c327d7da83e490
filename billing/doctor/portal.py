"""What customers may do on Stripe's own pages: cards and invoices, and no change past us."""

from collections.abc import Iterator

from billing.doctor.findings import Finding
from billing.payments import PORTAL_NAME
from billing.stripe_gateway import Gateway, Json

#: Features that would change a subscription behind our back, and in which words.
_PAST_US = {
    "subscription_update": "plans can be changed past us",
    "subscription_cancel": "subscriptions can be cancelled past us",
    "subscription_pause": "subscriptions can be paused past us",
}


def portal(gateway: Gateway) -> Iterator[Finding]:
    """Look at our configuration, and at those that customers reach by a login page."""
    configurations = gateway.list_portal_configurations()
    # The same that payments.open_portal uses.
    ours = next((one for one in configurations if one["name"] == PORTAL_NAME), None)
    if ours is None:
        yield Finding("portal", True, "its configuration is made when it is first opened")
    else:
        faults = [] if _enabled(ours, "payment_method_update") else ["cards cannot be changed"]
        faults += _past_us(ours)
        yield Finding("portal", not faults, "; ".join([ours["id"], *faults]))
    for one in configurations:
        if one is not ours and one["login_page"]["enabled"] and (faults := _past_us(one)):
            yield Finding("portal's login page", False, "; ".join([one["id"], *faults]))


def _past_us(configuration: Json) -> list[str]:
    return [words for name, words in _PAST_US.items() if _enabled(configuration, name)]


def _enabled(configuration: Json, feature: str) -> bool:
    return bool((configuration["features"].get(feature) or {}).get("enabled"))
