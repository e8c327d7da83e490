"""Where Stripe sends its events: ours, over https, in our version, and all that we work on."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

from billing.doctor.findings import Finding, judged
from billing.stripe_gateway import API_VERSION, Gateway, Json

#: What webhooks/handlers.py works on; a test holds the two together.
EVENTS = frozenset(
    {
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.refund.updated",
        "charge.refunded",
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.expired",
        "credit_note.created",
        "credit_note.updated",
        "credit_note.voided",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "customer.updated",
        "invoice.deleted",
        "invoice.finalized",
        "invoice.marked_uncollectible",
        "invoice.overpaid",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "invoice.voided",
        "invoice_payment.paid",
        "refund.created",
        "refund.failed",
        "refund.updated",
        "setup_intent.succeeded",
        "subscription_schedule.aborted",
        "subscription_schedule.canceled",
        "subscription_schedule.completed",
        "subscription_schedule.created",
        "subscription_schedule.expiring",
        "subscription_schedule.released",
        "subscription_schedule.updated",
    }
)
WEBHOOK_PATH = "/api/webhooks/stripe"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def endpoints(gateway: Gateway, handled: frozenset[str]) -> Iterator[Finding]:
    """Look at the endpoints with our path."""
    ours = [
        one
        for one in gateway.list_webhook_endpoints()
        if urlsplit(one["url"]).path.rstrip("/") == WEBHOOK_PATH
    ]
    if not ours:
        yield Finding("webhook endpoint", False, f"none with the path {WEBHOOK_PATH}")
    for one in ours:
        what = f"webhook endpoint {one['url']}"
        yield Finding(what, one["status"] == "enabled", one["status"])
        yield judged(f"{what}: address", list(_wrong_address(one)), fine="ours")
        # Without a version of its own it follows the account's default, which others change.
        version = one["api_version"] or "the account's default"
        pinned = version == API_VERSION
        told = version if pinned else f"{version}, not {API_VERSION}"
        yield Finding(f"{what}: version", pinned, told)
        missing = handled - set(one["enabled_events"])
        complete = not missing or "*" in one["enabled_events"]
        named = ", ".join(sorted(missing))
        yield Finding(f"{what}: events", complete, "all" if complete else f"missing: {named}")


def _wrong_address(endpoint: Json) -> Iterator[str]:
    """Yield what is wrong with where an endpoint points.

    Ours is the host of PUBLIC_URL, or one of ALLOWED_HOSTS that is named there.
    """
    at, own = urlsplit(endpoint["url"]), urlsplit(settings.PUBLIC_URL)
    host = at.hostname or ""
    named = [one for one in settings.ALLOWED_HOSTS if one != "*"]
    if at.netloc != own.netloc and not validate_host(host, named):
        yield f"on another host, not {own.netloc}"
    # Stripe itself reaches no loopback address: only a sandbox of this machine has one.
    if at.scheme != "https" and host not in _LOOPBACK:
        yield f"over {at.scheme}, not https"
