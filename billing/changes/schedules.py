"""The schedule that carries a downgrade: made, released, and put back after a refusal."""

from contextlib import suppress
from datetime import datetime

import structlog

from billing import convergence, operations
from billing.changes import sight, standing
from billing.changes.engine import Work
from billing.changes.errors import PlanChangeConflict
from billing.changes.payment import selling
from billing.convergence import UnknownPrice
from billing.models import Operation, Plan
from billing.stripe_gateway import Gateway, Json, StripeNotFound, StripeRefused
from config.contract.bodies import rfc3339
from config.contract.clients import clients

logger = structlog.get_logger("metergate.changes")


def downgrade(operation: Operation) -> Work:
    """Move to a cheaper plan when the billing period ends."""
    wanted = standing.plan(operation.request["newPlanCode"], field="newPlanCode")
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=operation.org_id):
        subscription = sight.running(operation)
        if not sight.plan_of(subscription).is_dearer_than(wanted):
            raise PlanChangeConflict("The plan is not cheaper than the current one")
        if subscription["cancel_at"] is not None:
            raise PlanChangeConflict("The subscription is about to be cancelled")
        mirror = sight.mirror_of(subscription["id"])
        if mirror.scheduled_plan_code == wanted.code:
            effective = mirror.scheduled_at
        else:
            refuse_agreed(gateway, subscription)
            _schedule(gateway, operation, subscription, wanted, step="schedule")
            ends = convergence.plan_item(subscription)["current_period_end"]
            effective = convergence.instant(ends)
        after = convergence.fetch(subscription["id"])
    assert effective is not None  # noqa: S101 - a scheduled plan has its instant
    return Work(after, lambda: _what_is_next(after.subscription_id, wanted, effective))


def _what_is_next(subscription_id: str, wanted: Plan, effective_at: datetime) -> Json:
    """Return the change that is written down; the one that was made, once that was reached."""
    mirror = sight.mirror_of(subscription_id)
    code, at = wanted.code, effective_at
    if mirror.scheduled_at is not None:
        code, at = mirror.scheduled_plan_code, mirror.scheduled_at
    return {"effectiveAt": rfc3339(at), "newPlanCode": code}


def keep_plan(operation: Operation) -> Work:
    """Take a scheduled downgrade back. The answer says whether there was one."""
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=operation.org_id):
        subscription = sight.alive(operation)
        if sight.mirror_of(subscription["id"]).scheduled_plan_code:
            refuse_agreed(gateway, subscription)
            release(gateway, operation, subscription)
        after = convergence.fetch(subscription["id"])
    return Work(after, lambda: {"cancelled": "released" in operation.request})


def refuse_agreed(gateway: Gateway, subscription: Json) -> Json | None:
    """Return the phase to come of its schedule, where it has one.

    Raises PlanChangeConflict where the schedule plans more than that. Ours never do:
    it was made at Stripe, for what staff agreed with the customer, and neither a
    rewrite nor a release could bring the rest of it back.
    """
    schedule_id = subscription.get("schedule")
    if not schedule_id:
        return None
    schedule = gateway.retrieve_schedule(schedule_id=schedule_id)
    running = (schedule.get("current_phase") or {}).get("start_date", 0)
    later = [phase for phase in schedule["phases"] if phase["start_date"] > running]
    ends_otherwise = schedule["status"] == "active" and schedule["end_behavior"] != "release"
    if len(later) > 1 or ends_otherwise or any(one.get("add_invoice_items") for one in later):
        raise PlanChangeConflict(
            "The subscription follows a schedule that was agreed on; please ask us to change it"
        )
    return later[0] if later else None


def release(
    gateway: Gateway, operation: Operation, subscription: Json, *, pending: Json | None = None
) -> None:
    """Release the schedule that manages a subscription, if one does.

    What it was going to change to is noted first, with price and quantity out of the
    `pending` phase: after a crash nothing else would tell that there was a downgrade
    to put back, and after a change of the catalogue not what it was to cost.
    """
    schedule = subscription.get("schedule")
    if not schedule:
        return
    code = sight.mirror_of(subscription["id"]).scheduled_plan_code
    if code:
        sold = convergence.item_that_sells(pending["items"]) if pending else None
        price_id = sold.price.stripe_price_id if sold else None
        quantity = sold.quantity if sold else None
        operations.note(operation, released=code, releasedPrice=price_id, releasedQuantity=quantity)
    gateway.release_schedule(
        schedule_id=schedule,
        idempotency_key=operations.stripe_key(operation, f"release:{schedule}"),
    )


def put_back(operation: Operation) -> None:
    """Schedule again what was released for a change that was then refused, at the same price.

    Raises the gateway's errors where trying again may help.
    """
    code = operation.request.get("released")
    if not code:
        return
    gateway: Gateway = clients.stripe
    with gateway.session(org_id=operation.org_id):
        subscription = sight.look(operation)
        if subscription is None or sight.is_over(subscription):
            return
        plan = Plan.objects.get(code=code)
        try:
            _schedule(
                gateway,
                operation,
                subscription,
                plan,
                step="put_back",
                price_id=_price_still_sold(gateway, operation.request.get("releasedPrice")),
                quantity=operation.request.get("releasedQuantity"),
            )
        except (StripeRefused, UnknownPrice):
            logger.error("downgrade_lost", operation=str(operation.uuid), plan_code=code)
        sight.look(operation)


def _price_still_sold(gateway: Gateway, price_id: str | None) -> str | None:
    """Return a price, unless it is archived or gone: Stripe schedules nothing at such a one."""
    if price_id is not None:
        with suppress(StripeNotFound):
            if gateway.retrieve_price(price_id=price_id)["active"]:
                return price_id
    return None


def _schedule(
    gateway: Gateway,
    operation: Operation,
    subscription: Json,
    plan: Plan,
    *,
    step: str,
    price_id: str | None = None,
    quantity: int | None = None,
) -> None:
    """Schedule a plan, at today's price and as many as now unless it is said otherwise."""
    with selling(plan) as sold:
        gateway.schedule_change(
            subscription=subscription,
            item_id=convergence.plan_item(subscription)["id"],
            price_id=price_id or sold.price_id,
            quantity=quantity,
            further_items=sold.further_items(subscription),
            idempotency_key=operations.stripe_key(operation, step),
            interval="year" if plan.interval == "year" else "month",
        )
