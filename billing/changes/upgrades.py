"""Moving to a dearer plan now."""

from billing import convergence, operations
from billing.changes import engine, schedules, sight, standing
from billing.changes.engine import Json, Work
from billing.changes.errors import PlanChangeConflict, PreviewStale
from billing.changes.payment import Sold, charging, selling
from billing.convergence import Fetched
from billing.models import Operation
from billing.stripe_gateway import Gateway
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError
from quotas.models import Status

#: How old a previewed proration date may be, in seconds.
PREVIEW_LIFE = 15 * 60
#: How far ahead of our clock it may be.
_CLOCK_SKEW = 60


def upgrade(operation: Operation) -> Work:
    """Move to a dearer plan now, charging the proration (or ending the trial).

    Where it is refused the old plan stays, and with it the downgrade that was
    pending. The refusal is noted before that is put back, so that a crash in
    between does not charge after all.
    """
    gateway: Gateway = clients.stripe
    refusal = _noted(operation)
    if refusal is None and _is_there(operation):
        return _answered(operation, None)
    with gateway.session(org_id=operation.org_id):
        if refusal is None:
            try:
                subscription_id = _move(operation)
            except ApiError as error:
                if engine.may_pass(error) or "released" not in operation.request:
                    raise
                _note(operation, error)
                refusal = error
            else:
                # Numbered after the charge, as every fetch that answers for a write: an
                # event that was worked on meanwhile may have seen the old plan.
                return _answered(operation, convergence.fetch(subscription_id))
        schedules.put_back(operation)
        raise refusal


def _is_there(operation: Operation) -> bool:
    """Tell whether it is on the plan already, as far as is known here."""
    mirror = standing.leading(operation.org_id)
    return (
        mirror is not None
        and mirror.status in standing.LIVE
        and mirror.plan_code == operation.request["newPlanCode"]
    )


def _answered(operation: Operation, after: Fetched | None) -> Work:
    return Work(after, lambda: standing.quota(operation.org_id, now=clock.now()))


def _move(operation: Operation) -> str:
    """Have the plan changed at Stripe, unless it is; returns the subscription's id."""
    org_id, asked = operation.org_id, operation.request
    wanted = standing.plan(asked["newPlanCode"], field="newPlanCode")
    gateway: Gateway = clients.stripe
    subscription = sight.running(operation)
    subscription_id = str(subscription["id"])
    current = sight.plan_of(subscription)
    if current.code == wanted.code:
        return subscription_id
    if not wanted.is_dearer_than(current):
        raise PlanChangeConflict("The plan is not dearer than the current one")
    sight.refuse_uncollected(subscription)
    pending = schedules.refuse_agreed(gateway, subscription)
    with selling(wanted) as sold:
        change = _change(subscription, sold, asked)
        if asked["expectedAmount"] is not None:
            due = gateway.preview_change(**change)["amount_due"]
            if due != asked["expectedAmount"]:
                raise PreviewStale
        schedules.release(gateway, operation, subscription, pending=pending)
        with charging(org_id):
            gateway.change_subscription(
                **change, idempotency_key=operations.stripe_key(operation, "change")
            )
    return subscription_id


def _change(subscription: Json, sold: Sold, asked: Json) -> Json:
    """Return what the preview and the update are asked alike."""
    trialing = subscription["status"] == Status.TRIALING
    item = convergence.plan_item(subscription)
    _refuse_stale(asked["prorationDate"])
    return {
        "subscription_id": subscription["id"],
        "item_id": item["id"],
        "price_id": sold.price_id,
        "quantity": item.get("quantity", 1),
        "further_items": sold.further_items(subscription),
        "proration_date": None if trialing else proration_date(item, asked),
        "end_trial": trialing,
    }


def proration_date(item: Json, asked: Json) -> int:
    """Return the instant the proration counts from, in Unix seconds.

    Stripe wants it inside the current period. A previewed one that is not says
    that a new period has begun; ours is moved, as clocks differ by seconds.
    """
    start, end = item["current_period_start"], item["current_period_end"]
    given: int | None = asked["prorationDate"]
    if given is None:
        return int(min(max(asked["askedAt"], start), end))
    if not start <= given <= end:
        raise PreviewStale
    return given


def _refuse_stale(given: int | None) -> None:
    now = int(clock.now().timestamp())
    if given is not None and not now - PREVIEW_LIFE <= given <= now + _CLOCK_SKEW:
        raise PreviewStale


def _note(operation: Operation, error: ApiError) -> None:
    details = {name: value for name, value in (error.details or {}).items() if name != "url"}
    refused = {"code": error.code, "message": error.message, "status": error.status}
    operations.note(operation, refused={**refused, "details": details or None})


def _noted(operation: Operation) -> ApiError | None:
    refused = operation.request.get("refused")
    return ApiError(**refused) if refused else None
