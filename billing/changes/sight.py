"""Looking at the subscription a change is about: as Stripe has it now, and written down here."""

from django.db import transaction

from billing import checkouts, convergence, operations
from billing.changes import standing
from billing.changes.errors import PlanChangeConflict
from billing.changes.standing import LIVE
from billing.convergence import PlanItem, UnknownPrice
from billing.models import Operation, Plan, Subscription
from billing.stripe_gateway import Json


def look(operation: Operation) -> Json | None:
    """Return the subscription the change was started for; None where it is gone at Stripe.

    What was seen is applied at once, so that a change that is then refused leaves
    the state as Stripe has it. Raises PlanChangeConflict where there was none,
    and the gateway's errors.
    """
    subscription_id = named(operation)
    if subscription_id is None:
        raise standing.nothing_runs(operation.org_id)
    fetched = convergence.fetch(subscription_id)
    with transaction.atomic():
        convergence.apply(fetched, because=f"{operation.kind} {operation.uuid}")
    return fetched.subscription


def named(operation: Operation) -> str | None:
    """Return the id of the subscription the change was started for; None where there was none.

    Where a sign-up's payment page may just have been completed, Stripe is asked: its
    webhook may be on its way. What it made is noted as the one the change is about.
    """
    subscription_id: str | None = operation.request.get("subscription")
    if subscription_id is None and standing.awaits_checkout(operation.org_id):
        subscription_id = made_by_the_page(operation)
        if subscription_id is not None:
            operations.note(operation, subscription=subscription_id)
    return subscription_id


def made_by_the_page(operation: Operation) -> str | None:
    """Return what a payment page made at Stripe, written down here; None where none did."""
    subscription_id = checkouts.made_by_the_page(operation.org_id)
    if subscription_id is not None:
        convergence.converge(subscription_id, because=f"{operation.kind} {operation.uuid}")
    return subscription_id


def alive(operation: Operation) -> Json:
    """Look, and return a subscription that is not over. Raises PlanChangeConflict too."""
    subscription = look(operation)
    if is_over(subscription) or subscription is None:
        raise PlanChangeConflict("There is no running subscription to change")
    return subscription


def running(operation: Operation) -> Json:
    """Look, and return a subscription whose plan can be changed. Raises PlanChangeConflict too."""
    subscription = alive(operation)
    if subscription["status"] not in LIVE:
        raise PlanChangeConflict("There is no running subscription to change")
    return subscription


def refuse_uncollected(subscription: Json) -> None:
    """Raise PlanChangeConflict where what a change costs would be billed and never collected."""
    if convergence.is_collection_given_up(subscription):
        raise PlanChangeConflict("Payments of the subscription are paused; it cannot cost more now")


def is_over(subscription: Json | None) -> bool:
    """Tell whether it is gone or in a state it never leaves."""
    return subscription is None or subscription["status"] in Subscription.TERMINAL


def sold(subscription: Json) -> PlanItem:
    """Return the item that sells its plan. Raises UnknownPrice."""
    item = convergence.sold_item(subscription)
    if item is None:
        raise UnknownPrice(str(subscription["id"]))
    return item


def plan_of(subscription: Json) -> Plan:
    """Return the plan it is on, at the price that is paid for it. Raises UnknownPrice."""
    return sold(subscription).plan


def mirror_of(subscription_id: str) -> Subscription:
    """Return what is written down of it."""
    return Subscription.objects.get(stripe_subscription_id=subscription_id)
