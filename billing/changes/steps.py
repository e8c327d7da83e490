"""What each kind of change does at Stripe. No transaction is open here.

Every worker first looks at the subscription as it is now: after a crash or a
lost answer the change may already be there, and then there is nothing to ask.
"""

from datetime import timedelta

from billing import convergence, operations, prices
from billing.changes import engine, standing
from billing.changes.engine import Json, Work
from billing.changes.errors import PlanChangeConflict, PreviewStale
from billing.convergence import Fetched
from billing.models import Operation, Plan, Subscription
from billing.stripe_gateway import CardDeclined, Gateway
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from quotas.models import Status

#: How old a previewed proration date may be.
PREVIEW_LIFE = timedelta(minutes=15)


def upgrade(operation: Operation) -> Work:
    """Move to a dearer plan now, charging the proration (or ending the trial)."""
    org_id, asked = operation.org_id, operation.request
    wanted = standing.plan(asked["newPlanCode"], field="newPlanCode")
    if standing.live(org_id).plan_code == wanted.code:
        return Work(None, lambda: standing.quota(org_id, now=clock.now()))
    gateway: Gateway = clients.stripe
    with gateway.session():
        fetched = _fetched(operation)
        subscription = _alive(fetched)
        held = _plan_of(subscription)
        if held.code == wanted.code:
            return Work(fetched, lambda: standing.quota(org_id, now=clock.now()))
        if held.amount >= wanted.amount:
            raise PlanChangeConflict("The plan is not dearer than the current one")
        trialing = subscription["status"] == Status.TRIALING
        item = convergence.plan_item(subscription)
        price_id = prices.price_id(wanted)
        date = None if trialing else asked["prorationDate"]
        if asked.get("expectedAmount") is not None:
            due = gateway.preview_change(
                subscription_id=subscription["id"],
                item_id=item["id"],
                price_id=price_id,
                proration_date=date,
                end_trial=trialing,
            )["amount_due"]
            if due != asked["expectedAmount"]:
                raise PreviewStale
        released = _release(gateway, operation, subscription)
        number = convergence.take_number(subscription["id"])
        try:
            changed = gateway.change_subscription(
                subscription_id=subscription["id"],
                item_id=item["id"],
                price_id=price_id,
                idempotency_key=operations.stripe_key(operation, "change"),
                proration_date=date,
                end_trial=trialing,
            )
        except CardDeclined:
            if released:
                # The old plan stays, and with it the change that was pending.
                _reschedule(gateway, operation, fetched)
            raise
        after = convergence.with_schedule(subscription["id"], number, changed)
    return Work(after, lambda: standing.quota(org_id, now=clock.now()))


def downgrade(operation: Operation) -> Work:
    """Move to a cheaper plan when the billing period ends."""
    asked = operation.request
    gateway: Gateway = clients.stripe
    with gateway.session():
        fetched = _fetched(operation)
        subscription = _alive(fetched)
        wanted = standing.plan(asked["newPlanCode"], field="newPlanCode")
        if wanted.amount >= _plan_of(subscription).amount:
            raise PlanChangeConflict("The plan is not cheaper than the current one")
        if subscription["cancel_at"] is not None:
            raise PlanChangeConflict("The subscription is about to be cancelled")
        gateway.schedule_change(
            subscription=subscription,
            price_id=prices.price_id(wanted),
            idempotency_key=operations.stripe_key(operation, "schedule"),
        )
        after = convergence.fetch(subscription["id"])
    effective = convergence.instant(convergence.plan_item(_alive(after))["current_period_end"])
    return Work(after, lambda: {"effectiveAt": rfc3339(effective), "newPlanCode": wanted.code})


def keep_plan(operation: Operation) -> Work:
    """Take a scheduled downgrade back."""
    gateway: Gateway = clients.stripe
    with gateway.session():
        subscription = _alive(_fetched(operation))
        released = _release(gateway, operation, subscription)
        after = convergence.fetch(subscription["id"])
    return Work(after, lambda: {"cancelled": released})


def cancel(operation: Operation) -> Work:
    """End the subscription, at the end of its period or now."""
    gateway: Gateway = clients.stripe
    with gateway.session():
        fetched = _fetched(operation)
        subscription = fetched.subscription
        if subscription is not None and subscription["status"] not in Subscription.TERMINAL:
            _release(gateway, operation, subscription)
            if operation.request["at"] == "now":
                gateway.cancel_subscription(subscription_id=subscription["id"])
            else:
                gateway.set_cancel_at_period_end(
                    subscription_id=subscription["id"],
                    cancel=True,
                    idempotency_key=operations.stripe_key(operation, "cancel"),
                )
            fetched = convergence.fetch(fetched.subscription_id)
    return Work(fetched, lambda: _state(fetched.subscription_id))


def resume(operation: Operation) -> Work:
    """Undo a pending cancellation, or start a paused subscription again."""
    gateway: Gateway = clients.stripe
    with gateway.session():
        subscription = _alive(_fetched(operation))
        if subscription["status"] == Status.PAUSED:
            gateway.resume_subscription(
                subscription_id=subscription["id"],
                idempotency_key=operations.stripe_key(operation, "resume"),
            )
        elif subscription["cancel_at"] is not None:
            gateway.set_cancel_at_period_end(
                subscription_id=subscription["id"],
                cancel=False,
                idempotency_key=operations.stripe_key(operation, "resume"),
            )
        after = convergence.fetch(subscription["id"])
    return Work(after, lambda: _state(after.subscription_id))


def subscribe(operation: Operation) -> Work:
    """Begin a new subscription after the last one ended. There is no second trial."""
    org_id = operation.org_id
    organization = standing.organization(org_id)
    plan = standing.plan(operation.request["planCode"], field="planCode")
    gateway: Gateway = clients.stripe
    with gateway.session():
        # A lost answer may have left it behind: it carries our mark.
        mark = str(operation.uuid)
        existing = [
            one
            for one in gateway.list_subscriptions(customer_id=organization.stripe_customer_id)
            if one["status"] not in Subscription.TERMINAL
        ]
        found = next((one for one in existing if one["metadata"].get("operation") == mark), None)
        if found is None:
            if existing:
                raise PlanChangeConflict("There is a subscription already")
            found = gateway.create_subscription(
                customer_id=organization.stripe_customer_id,
                price_id=prices.price_id(plan),
                org_id=org_id,
                payment_behavior="error_if_incomplete",
                metadata={"operation": mark},
                idempotency_key=operations.stripe_key(operation, "subscription"),
            )
        after = convergence.fetch(found["id"])
    return Work(
        after,
        lambda: {
            **standing.quota(org_id, now=clock.now()),
            "status": _state(after.subscription_id)["status"],
        },
    )


def _fetched(operation: Operation) -> Fetched:
    """Fetch the subscription the operation was started for."""
    return convergence.fetch(operation.request["subscription"])


def _alive(fetched: Fetched) -> Json:
    subscription = fetched.subscription
    if subscription is None or subscription["status"] in Subscription.TERMINAL:
        raise PlanChangeConflict("There is no running subscription to change")
    return subscription


def _plan_of(subscription: Json) -> Plan:
    item = convergence.plan_item(subscription)
    return Plan.objects.get(code=convergence.plan_code_of(item["price"]))


def _release(gateway: Gateway, operation: Operation, subscription: Json) -> bool:
    """Release the schedule that manages a subscription, if one does."""
    schedule = subscription.get("schedule")
    if not schedule:
        return False
    gateway.release_schedule(
        schedule_id=schedule, idempotency_key=operations.stripe_key(operation, "release")
    )
    return True


def _reschedule(gateway: Gateway, operation: Operation, before: Fetched) -> None:
    mirror = Subscription.objects.get(stripe_subscription_id=before.subscription_id)
    if not mirror.scheduled_plan_code:
        return
    plan = Plan.objects.get(code=mirror.scheduled_plan_code)
    gateway.schedule_change(
        subscription=gateway.retrieve_subscription(subscription_id=before.subscription_id),
        price_id=prices.price_id(plan),
        idempotency_key=operations.stripe_key(operation, "reschedule"),
    )


def _state(subscription_id: str) -> Json:
    mirror = Subscription.objects.get(stripe_subscription_id=subscription_id)
    ends = mirror.ended_at or mirror.cancel_at
    return {"status": mirror.status, "endsAt": rfc3339(ends) if ends else None}


engine.WORKERS.update(
    {
        Operation.Kind.UPGRADE: upgrade,
        Operation.Kind.DOWNGRADE: downgrade,
        Operation.Kind.KEEP_PLAN: keep_plan,
        Operation.Kind.CANCEL: cancel,
        Operation.Kind.RESUME: resume,
        Operation.Kind.SUBSCRIBE: subscribe,
    }
)
