"""The verbs of plan changes, the same for every door.

Every state is looked at by the work, not here: a repeat of a request that was
answered gets that answer, whatever has become of the subscription since.
"""

from typing import Literal

from billing import checkouts
from billing.changes import engine, standing, steps
from billing.changes.engine import Answer, Json
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

    def request() -> Json:
        return {
            "newPlanCode": standing.plan(new_plan_code, field="newPlanCode").code,
            "prorationDate": proration_date,
            "expectedAmount": expected_amount,
            "askedAt": int(clock.now().timestamp()),
            "subscription": standing.leading_id(org_id),
        }

    return engine.run(
        kind=Operation.Kind.UPGRADE,
        org_id=org_id,
        request=request,
        body=[new_plan_code, proration_date, expected_amount],
        key=key,
    )


def downgrade(*, org_id: str, new_plan_code: str, key: str | None) -> Answer:
    """Move to a cheaper plan at the period's end; `{effectiveAt, newPlanCode}`.

    Again: the same; another plan: rewritten. Raises PlanChangeConflict for a
    dearer or the same plan, and where the subscription is about to be cancelled.
    """

    def request() -> Json:
        code = standing.plan(new_plan_code, field="newPlanCode").code
        return {"newPlanCode": code, "subscription": standing.leading_id(org_id)}

    return engine.run(
        kind=Operation.Kind.DOWNGRADE,
        org_id=org_id,
        request=request,
        body=[new_plan_code],
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
        request=lambda: {"subscription": standing.leading_id(org_id)},
        body=[],
        key=None,
    )


def cancel(*, org_id: str, at: Literal["period_end", "now"], key: str | None) -> Answer:
    """End the subscription; `{status, endsAt}`. Raises PlanChangeConflict where none runs."""
    return engine.run(
        kind=Operation.Kind.CANCEL,
        org_id=org_id,
        request=lambda: {"at": at, "subscription": standing.leading_id(org_id)},
        body=[at],
        key=key,
    )


def resume(*, org_id: str, key: str | None) -> Answer:
    """Undo a pending cancellation or resume a paused subscription; `{status, endsAt}`.

    Raises PlanChangeConflict where it is over, CardDeclined where resuming is not paid.
    """
    return engine.run(
        kind=Operation.Kind.RESUME,
        org_id=org_id,
        request=lambda: {"subscription": standing.leading_id(org_id)},
        body=[],
        key=key,
    )


def subscribe(*, org_id: str, plan_code: str, key: str | None) -> Answer:
    """Subscribe again after the end; `{planCode, includedUnits, used, remaining, status}`.

    Raises PlanChangeConflict while a subscription runs, CardDeclined, NotFound.
    """

    def request() -> Json:
        standing.organization(org_id)
        return {"planCode": standing.plan(plan_code, field="planCode").code}

    return engine.run(
        kind=Operation.Kind.SUBSCRIBE,
        org_id=org_id,
        request=request,
        body=[plan_code],
        key=key,
    )


def open_checkout(*, org_id: str, key: str | None) -> Answer:
    """Open a fresh page for a sign-up by Checkout that is not completed; `{checkoutUrl}`.

    The trial's end is kept and the old page closed. The URL is stored nowhere: a
    replay reads it again, and leaves it out once the page is closed. Raises
    PlanChangeConflict where there is nothing to complete, NotFound.
    """

    def request() -> Json:
        standing.organization(org_id)
        return {}

    answer = engine.run(
        kind=Operation.Kind.CHECKOUT, org_id=org_id, request=request, body=[], key=key
    )
    url = checkouts.url_of(answer.data["checkoutSession"])
    return Answer({"checkoutUrl": url} if url else {}, replayed=answer.replayed)
