"""The verbs of plan changes, the same for every door."""

from typing import Literal

from billing.changes import engine, standing, steps
from billing.changes.engine import Answer
from billing.changes.errors import PlanChangeConflict, PreviewStale
from billing.models import Operation
from config.contract import clock

_ = steps  # registers the workers


def upgrade(
    *,
    org_id: str,
    new_plan_code: str,
    proration_date: int | None,
    expected_amount: int | None,
    key: str | None,
) -> Answer:
    """Move to a dearer plan now; `{planCode, includedUnits, used, remaining}`.

    `proration_date` is whole Unix seconds, as previewed; `expected_amount` in
    minor units is what the caller was shown. Raises PreviewStale where Stripe
    would charge something else or the date is older than 15 minutes,
    PlanChangeConflict for a cheaper plan, CardDeclined (402, the old plan
    stays). Already on it: answered without asking Stripe.
    """
    wanted = standing.plan(new_plan_code, field="newPlanCode")
    mirror = standing.live(org_id)
    now = int(clock.now().timestamp())
    if key is None and mirror.plan_code == wanted.code:
        return Answer(standing.quota(org_id, now=clock.now()), replayed=False)
    if proration_date is not None and not (
        now - steps.PREVIEW_LIFE.total_seconds() <= proration_date <= now + 60
    ):
        raise PreviewStale
    return engine.run(
        kind=Operation.Kind.UPGRADE,
        org_id=org_id,
        request={
            "newPlanCode": wanted.code,
            "prorationDate": proration_date or now,
            "expectedAmount": expected_amount,
            "subscription": mirror.stripe_subscription_id,
        },
        body=[wanted.code, proration_date, expected_amount],
        key=key,
    )


def downgrade(*, org_id: str, new_plan_code: str, key: str | None) -> Answer:
    """Move to a cheaper plan at the period's end; `{effectiveAt, newPlanCode}`.

    Again: the same; another plan: rewritten. Raises PlanChangeConflict for a
    dearer or the same plan.
    """
    wanted = standing.plan(new_plan_code, field="newPlanCode")
    mirror = standing.live(org_id)
    if wanted.amount >= standing.current_plan(mirror).amount:
        raise PlanChangeConflict("The plan is not cheaper than the current one")
    return engine.run(
        kind=Operation.Kind.DOWNGRADE,
        org_id=org_id,
        request={"newPlanCode": wanted.code, "subscription": mirror.stripe_subscription_id},
        body=[wanted.code],
        key=key,
    )


def keep_plan(*, org_id: str) -> Answer:
    """Take a scheduled downgrade back; `{cancelled}` says whether there was one."""
    mirror = standing.leading(org_id)
    if mirror is None or not mirror.stripe_schedule_id:
        return Answer({"cancelled": False}, replayed=False)
    return engine.run(
        kind=Operation.Kind.KEEP_PLAN,
        org_id=org_id,
        request={"subscription": mirror.stripe_subscription_id},
        body=[],
        key=None,
    )


def cancel(*, org_id: str, at: Literal["period_end", "now"], key: str | None) -> Answer:
    """End the subscription; `{status, endsAt}`. Raises PlanChangeConflict where none runs."""
    mirror = standing.leading(org_id)
    if mirror is None:
        raise PlanChangeConflict("There is no running subscription to cancel")
    return engine.run(
        kind=Operation.Kind.CANCEL,
        org_id=org_id,
        request={"at": at, "subscription": mirror.stripe_subscription_id},
        body=[at],
        key=key,
    )


def resume(*, org_id: str, key: str | None) -> Answer:
    """Undo a pending cancellation or resume a paused subscription; `{status, endsAt}`."""
    mirror = standing.leading(org_id)
    if mirror is None:
        raise PlanChangeConflict("The subscription is over; subscribe again")
    return engine.run(
        kind=Operation.Kind.RESUME,
        org_id=org_id,
        request={"subscription": mirror.stripe_subscription_id},
        body=[],
        key=key,
    )


def subscribe(*, org_id: str, plan_code: str, key: str | None) -> Answer:
    """Subscribe again after the end; `{planCode, includedUnits, used, remaining, status}`.

    Raises PlanChangeConflict while a subscription runs, CardDeclined.
    """
    wanted = standing.plan(plan_code, field="planCode")
    standing.organization(org_id)
    return engine.run(
        kind=Operation.Kind.SUBSCRIBE,
        org_id=org_id,
        request={"planCode": wanted.code},
        body=[wanted.code],
        key=key,
    )
