"""Lives of subscriptions: what happens to them at Stripe, event by event, and where they end."""

from collections.abc import Callable, Sequence
from typing import Any

from billing.models import InvoiceRef, Organization, Subscription
from billing.stripe_gateway import StripeGateway
from config.contract import clock
from quotas.models import Entitlement
from tests.sandbox.cast import Subscriber
from tests.sandbox.server import Control

#: A trial, its first paid month, another price, a payment that failed, the end.
STAGES = ("trialing", "active", "pro", "past_due", "canceled")


class Life:
    """One organisation and its subscription, which nobody has told us about yet."""

    def __init__(self, gateway: StripeGateway) -> None:
        self.subscriber = Subscriber(gateway)
        self.org_id = self.subscriber.org_id
        Organization.objects.create(
            org_id=self.org_id,
            name="Acme",
            email="owner@acme.example",
            stripe_customer_id=self.subscriber.customer_id,
            created_at=clock.now(),
        )
        self.subscription = self.subscriber.subscribe("starter", trial_days=14)
        self.id: str = self.subscription["id"]


def live_on(
    lives: Sequence[Life],
    sandbox: Control,
    gateway: StripeGateway,
    *,
    after: Callable[[int], None],
) -> None:
    """Take all lives through the stages at once; `after` is told the number of each."""
    after(0)
    sandbox.travel(days=15)
    after(1)
    for life in lives:
        life.subscriber.change(life.subscription, "pro")
    after(2)
    sandbox.fault("card_declined", count=-1)
    # The next month begins, its invoice is finalised an hour later and not paid.
    sandbox.travel(days=31, hours=3)
    after(3)
    for life in lives:
        gateway.cancel_subscription(subscription_id=life.id)
    after(4)


def telling(events: Sequence[Any], stage: int) -> Any:
    """Return the newest of a subscription's events that tells of a stage."""
    wanted = STAGES[stage]
    price = {"pro": "pro"}.get(wanted)
    status = {"pro": "active"}.get(wanted, wanted)
    return next(
        event
        for event in reversed(events)
        if event["type"].startswith("customer.subscription.")
        and event["data"]["object"]["status"] == status
        and (
            price is None
            or event["data"]["object"]["items"]["data"][0]["price"]["lookup_key"] == price
        )
    )


def expected(sandbox: Control, subscription_id: str) -> dict[str, Any]:
    """Return what the mirror and the entitlement have to say, as Stripe has it."""
    at_stripe = sandbox.show(subscription_id)
    item = at_stripe["items"]["data"][0]
    return {
        "status": at_stripe["status"],
        "plan_code": item["price"]["lookup_key"],
        "current_period_end": item["current_period_end"],
        "cancel_at": at_stripe["cancel_at"],
        "ended_at": at_stripe["ended_at"],
        "trial_ends_at": at_stripe["trial_end"],
        "entitled": (at_stripe["status"], item["price"]["lookup_key"]),
    }


def known(subscription_id: str) -> dict[str, Any]:
    """Return what the mirror and the entitlement do say."""
    mirror = Subscription.objects.get(stripe_subscription_id=subscription_id)
    entitlement = Entitlement.objects.get(org_id=mirror.org_id)
    return {
        "status": mirror.status,
        "plan_code": mirror.plan_code,
        "current_period_end": _unix(mirror.current_period_end),
        "cancel_at": _unix(mirror.cancel_at),
        "ended_at": _unix(mirror.ended_at),
        "trial_ends_at": _unix(mirror.trial_ends_at),
        "entitled": (entitlement.status, entitlement.plan_code),
    }


def invoices_at_stripe(sandbox: Control, org_ids: set[str]) -> dict[str, tuple[str, int]]:
    """Return status and total of the invoices that were finalised."""
    customers = set(
        Organization.objects.filter(org_id__in=org_ids).values_list("stripe_customer_id", flat=True)
    )
    return {
        one["id"]: (one["status"], one["total"])
        for one in sandbox.objects("invoice")
        if one["customer"] in customers and one["status"] != "draft"
    }


def invoices_known(org_ids: set[str]) -> dict[str, tuple[str, int]]:
    """Return status and total of the invoices known here."""
    return {
        ref.stripe_invoice_id: (ref.status, ref.total)
        for ref in InvoiceRef.objects.filter(org_id__in=org_ids)
    }


def _unix(at: Any) -> int | None:
    return None if at is None else int(at.timestamp())
