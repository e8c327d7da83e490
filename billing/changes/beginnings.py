"""Subscribing again after the last subscription ended."""

from contextlib import suppress

from billing import convergence, operations
from billing.changes import endings, sight, standing
from billing.changes.engine import Json, Work
from billing.changes.errors import PlanChangeConflict
from billing.changes.payment import charging, selling
from billing.models import Operation, Organization
from billing.stripe_gateway import Gateway, StripeNotFound, StripeRefused
from config.contract import clock
from config.contract.clients import clients


def subscribe(operation: Operation) -> Work:
    """Begin a new subscription, paid at once. There is no second trial."""
    org_id = operation.org_id
    organization = standing.organization(org_id)
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=org_id):
        try:
            made = _ours_or_new(gateway, operation, organization)
        except StripeNotFound as missing:
            if missing.param != "customer":
                raise
            raise PlanChangeConflict("The customer was deleted at the payment provider") from None
        after = convergence.fetch(made["id"])
    return Work(
        after,
        lambda: {
            **standing.quota(org_id, now=clock.now()),
            "status": endings.state(after.subscription_id)["status"],
        },
    )


def _ours_or_new(gateway: Gateway, operation: Operation, organization: Organization) -> Json:
    _close_checkout(gateway, operation)
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
    with selling(plan) as sold, charging(operation.org_id):
        return gateway.create_subscription(
            customer_id=organization.stripe_customer_id,
            price_id=sold.price_id,
            metered_price_ids=sold.metered,
            org_id=operation.org_id,
            payment_behavior="error_if_incomplete",
            metadata={"operation": mark},
            idempotency_key=operations.stripe_key(operation, "subscription"),
        )


def _close_checkout(gateway: Gateway, operation: Operation) -> None:
    """Close the page of a sign-up that is still open: completed later, it would make a second.

    One that is completed or expired cannot be closed; what it made is looked for next.
    """
    sign_up = (
        Operation.objects.filter(org_id=operation.org_id, kind=Operation.Kind.SIGN_UP)
        .exclude(result=None)
        .first()
    )
    session = (sign_up.result or {}).get("checkoutSession") if sign_up else None
    if session is None:
        return
    with suppress(StripeRefused):
        gateway.expire_checkout_session(
            session_id=session,
            idempotency_key=operations.stripe_key(operation, "close_checkout"),
        )
