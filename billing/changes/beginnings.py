"""Subscribing again after the last subscription ended, and the page of a sign-up anew."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing import checkouts, convergence, operations
from billing.changes import endings, sight, standing
from billing.changes.engine import Json, Work
from billing.changes.errors import PlanChangeConflict
from billing.changes.payment import charging, selling
from billing.models import Operation, Organization, Plan
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement


def subscribe(operation: Operation) -> Work:
    """Begin a new subscription, paid at once. There is no second trial.

    The days that are left of a running one are kept (`standing.promised_until`).
    """
    org_id = operation.org_id
    organization = standing.organization(org_id)
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=org_id):
        with _of_customer():
            made = _ours_or_new(gateway, operation, organization)
        after = convergence.fetch(made["id"])
    return Work(
        after,
        lambda: {
            **standing.quota(org_id, now=clock.now()),
            "status": endings.state(after.subscription_id)["status"],
        },
    )


def _ours_or_new(gateway: Gateway, operation: Operation, organization: Organization) -> Json:
    if standing.signed_up_by_checkout(operation.org_id):
        # Completed later, its page would make a second subscription.
        checkouts.close_pages(operation, customer_id=organization.stripe_customer_id)
    # A lost answer may have left ours behind: it carries our mark.
    mark = str(operation.uuid)
    running = [
        one
        for one in gateway.list_subscriptions(customer_id=organization.stripe_customer_id)
        if not sight.is_over(one)
    ]
    ours = next((one for one in running if one["metadata"].get("operation") == mark), None)
    if ours is not None:
        return ours
    if running:
        raise PlanChangeConflict("There is a subscription already")
    plan = standing.plan(operation.request["planCode"], field="planCode")
    keeps = standing.promised_until(operation.org_id, plan, now=clock.now())
    with selling(plan) as sold, charging(operation.org_id):
        return gateway.create_subscription(
            customer_id=organization.stripe_customer_id,
            price_id=sold.price_id,
            metered_price_ids=sold.metered,
            org_id=operation.org_id,
            trial_end=int(keeps.timestamp()) if keeps else None,
            payment_behavior="error_if_incomplete",
            metadata={"operation": mark},
            idempotency_key=operations.stripe_key(operation, "subscription"),
        )


def open_checkout(operation: Operation) -> Work:
    """Open a fresh page for a sign-up by Checkout that is not completed; the old one is closed.

    Its result holds the page's id, never its URL. Raises PlanChangeConflict where there
    is none to complete.
    """
    org_id = operation.org_id
    organization = standing.organization(org_id)
    if not standing.awaits_checkout(org_id):
        raise PlanChangeConflict("There is no sign-up by Checkout that waits to be completed")
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=org_id), _of_customer():
        session_id = checkouts.close_pages(operation, customer_id=organization.stripe_customer_id)
        if sight.made_by_the_page(operation) is not None:
            raise PlanChangeConflict("The payment page was completed: there is a subscription")
        if session_id is None:
            session_id = _another_page(operation, organization)
    return Work(None, lambda: {"checkoutSession": session_id})


def _another_page(operation: Operation, organization: Organization) -> str:
    entitlement = Entitlement.objects.get(org_id=operation.org_id)
    plan = Plan.objects.prefetch_related("metrics").get(code=entitlement.plan_code)
    with selling(plan) as sold:
        return checkouts.open_another_page(
            operation,
            customer_id=organization.stripe_customer_id,
            price_id=sold.price_id,
            metered_price_ids=sold.metered,
            now=clock.now(),
        )


@contextmanager
def _of_customer() -> Iterator[None]:
    """Say 409 where the customer was deleted at Stripe; it is not made again."""
    try:
        yield
    except StripeNotFound as missing:
        if missing.param != "customer":
            raise
        raise PlanChangeConflict("The customer was deleted at the payment provider") from None
