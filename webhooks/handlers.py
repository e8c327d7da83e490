"""What each type of event makes us ask Stripe. An event says which object changed, no more.

A handler is told the object's id, fetches what there is to know, and returns it;
the processor writes it down. It reads nothing out of the event: what the event
says of the object may be old, and a replay may come after the payload was dropped.
"""

from collections.abc import Callable
from dataclasses import replace

import structlog

from billing import cards
from billing.contact import following
from billing.models import Organization, Subscription
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract.clients import clients
from webhooks import money
from webhooks.found import Found, Reader
from webhooks.models import WebhookEvent

logger = structlog.get_logger("metergate.webhooks")
Handler = Callable[[Reader, str], Found]

#: A question of our own about a subscription (webhooks.overdue), worked on like an event.
CONVERGE = "metergate.converge"
SETUP_SUCCEEDED = "setup_intent.succeeded"


def subscription(read: Reader, subscription_id: str) -> Found:
    """Converge the subscription."""
    return Found(subscriptions=(read.subscription(subscription_id),))


def schedule(read: Reader, schedule_id: str) -> Found:
    """Converge the subscription that the schedule manages, or managed until its release."""
    gateway: Gateway = clients.stripe
    try:
        found = gateway.retrieve_schedule(schedule_id=schedule_id)
    except StripeNotFound:
        return Found()
    named = found.get("subscription") or found.get("released_subscription")
    return Found(subscriptions=read.subscriptions([named] if named else []))


def invoice(read: Reader, invoice_id: str) -> Found:
    """Keep what is known of the invoice, and converge the subscription it bills."""
    found = read.invoice(invoice_id)
    billed = [found.subscription_id] if found.subscription_id else []
    return Found(invoices=(found,), subscriptions=read.subscriptions(billed))


def failed_payment(read: Reader, invoice_id: str) -> Found:
    """Keep what is known of the invoice; its owner hears of it if it is still unpaid."""
    found = invoice(read, invoice_id)
    return replace(found, unpaid=found.invoices)


def checkout_session(read: Reader, session_id: str) -> Found:
    """Converge the subscription that the session made; nothing else of it is believed."""
    gateway: Gateway = clients.stripe
    try:
        made = gateway.retrieve_checkout_session(session_id=session_id)["subscription"]
    except StripeNotFound:
        return Found()
    return Found(subscriptions=read.subscriptions([made] if made else []))


def customer(read: Reader, customer_id: str) -> Found:
    """Take over the name and e-mail of the customer (billing.contact.following says when).

    A deleted one took its subscriptions along: they are asked for.
    """
    fetched, at_stripe = following.fetch(customer_id)
    org_id = _org_of(customer_id)
    if fetched is not None:
        return Found(customers=(fetched,), org_id=org_id)
    if not at_stripe.get("deleted"):
        return Found(org_id=org_id)
    if org_id:
        logger.error("customer_deleted", customer=customer_id, tenant_id=org_id)
    return Found(subscriptions=read.subscriptions(_mirrored(customer_id)), org_id=org_id)


def setup_intent(_read: Reader, setup_intent_id: str) -> Found:
    """Charge the new card from now on, the first time that its success is heard of.

    A replay, or a second event of the same success, must not undo a choice that
    the customer made since.
    """
    told = WebhookEvent.objects.filter(
        object_id=setup_intent_id, type=SETUP_SUCCEEDED, processed_at__isnull=False
    )
    if told.exists():
        return Found()
    card = cards.collected_by(setup_intent_id)
    return Found(card=card, org_id=_org_of(card.customer_id) if card else "")


def _org_of(customer_id: str) -> str:
    found = Organization.objects.filter(stripe_customer_id=customer_id)
    return found.values_list("org_id", flat=True).first() or ""


def _mirrored(customer_id: str) -> list[str]:
    mirrors = Subscription.objects.filter(stripe_customer_id=customer_id)
    return list(
        mirrors.exclude(status__in=Subscription.TERMINAL).values_list(
            "stripe_subscription_id", flat=True
        )
    )


#: Types that stand here are worked on; all others are kept as ignored (docs/webhooks.md
#: says of each sibling why).
HANDLERS: dict[str, Handler] = {
    "charge.dispute.closed": money.dispute,
    "charge.dispute.created": money.dispute,
    "charge.dispute.funds_reinstated": money.dispute,
    "charge.dispute.funds_withdrawn": money.dispute,
    "charge.dispute.updated": money.dispute,
    "charge.refund.updated": money.refund,
    "charge.refunded": money.charge,
    "checkout.session.completed": checkout_session,
    "checkout.session.expired": checkout_session,
    "checkout.session.async_payment_succeeded": checkout_session,
    "checkout.session.async_payment_failed": checkout_session,
    "credit_note.created": money.credit_note,
    "credit_note.updated": money.credit_note,
    "credit_note.voided": money.credit_note,
    "customer.updated": customer,
    "customer.deleted": customer,
    "customer.subscription.created": subscription,
    "customer.subscription.updated": subscription,
    "customer.subscription.deleted": subscription,
    "customer.subscription.paused": subscription,
    "customer.subscription.resumed": subscription,
    "customer.subscription.trial_will_end": subscription,
    "customer.subscription.pending_update_applied": subscription,
    "customer.subscription.pending_update_expired": subscription,
    "invoice.deleted": invoice,
    "invoice.finalized": invoice,
    "invoice.marked_uncollectible": invoice,
    "invoice.overpaid": invoice,
    "invoice.paid": invoice,
    "invoice.payment_action_required": failed_payment,
    "invoice.payment_failed": failed_payment,
    "invoice.voided": invoice,
    "invoice_payment.paid": money.payment,
    "refund.created": money.refund,
    "refund.failed": money.refund,
    "refund.updated": money.refund,
    SETUP_SUCCEEDED: setup_intent,
    "subscription_schedule.created": schedule,
    "subscription_schedule.updated": schedule,
    "subscription_schedule.released": schedule,
    "subscription_schedule.canceled": schedule,
    "subscription_schedule.completed": schedule,
    "subscription_schedule.aborted": schedule,
    "subscription_schedule.expiring": schedule,
    CONVERGE: subscription,
}

#: What to ask Stripe for: everything that is worked on and is Stripe's.
STRIPES_TYPES = tuple(type_ for type_ in HANDLERS if type_ != CONVERGE)
