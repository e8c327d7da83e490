"""Where an organisation stands: its leading subscription, its plan, what it may use."""

from datetime import datetime, timedelta
from typing import Any

from billing import mirrors
from billing.changes.errors import CheckoutNotCompleted, PlanChangeConflict
from billing.models import Operation, Organization, Plan, Subscription
from config.contract import clock
from config.contract.errors import NotFound, ValidationFailed
from config.contract.ids import is_well_formed
from quotas import queries
from quotas.adjustments import unspent
from quotas.models import Entitlement, Status, UsageCounter
from quotas.queries import HEADLINE_METRIC

#: States in which there is something to change.
LIVE = mirrors.LIVE
#: What is left of a trial that is worth asking Stripe for: its end has to be ahead there, too.
_TRIAL_LEAST = timedelta(minutes=1)


def organization(org_id: str) -> Organization:
    """Return the organisation. Raises NotFound."""
    found = Organization.objects.filter(org_id=org_id).first()
    if found is None:
        raise NotFound
    return found


def leading(org_id: str) -> Subscription | None:
    """Return the subscription that leads now (billing.mirrors); None where all are over."""
    return Subscription.objects.filter(org_id=org_id).running().leading(now=clock.now())


def leading_id(org_id: str) -> str | None:
    """Return the id at Stripe of the subscription that leads, where one does."""
    found = leading(org_id)
    return found.stripe_subscription_id if found else None


def live(org_id: str) -> Subscription:
    """Return the subscription that can be changed. Raises PlanChangeConflict."""
    found = leading(org_id)
    if found is None or found.status not in LIVE:
        raise nothing_runs(org_id)
    return found


def nothing_runs(org_id: str) -> PlanChangeConflict:
    """Return the refusal of a change where no subscription runs: it names the way on."""
    if awaits_checkout(org_id):
        return CheckoutNotCompleted()
    return PlanChangeConflict("There is no running subscription to change")


def signed_up_by_checkout(org_id: str) -> bool:
    """Tell whether the organisation signed up over Stripe's payment page."""
    sign_ups = Operation.objects.filter(org_id=org_id, kind=Operation.Kind.SIGN_UP)
    return sign_ups.filter(request__checkout=True).exists()


def awaits_checkout(org_id: str) -> bool:
    """Tell whether its sign-up's payment page was never completed, as far as is known here."""
    mirrored = Subscription.objects.filter(org_id=org_id).exists()
    return not mirrored and signed_up_by_checkout(org_id)


def promised_until(org_id: str, plan: Plan, *, now: datetime) -> datetime | None:
    """Return the end of a running trial that subscribing to `plan` keeps; None where none is.

    That is the trial of a sign-up by Checkout, before there is a subscription. A
    dearer plan than the trial's was promised to nobody: it is paid at once, as an
    upgrade out of a trial is.
    """
    found = Entitlement.objects.filter(org_id=org_id, status=Status.TRIALING).first()
    if found is None or found.trial_ends_at is None or found.trial_ends_at <= now + _TRIAL_LEAST:
        return None
    if plan.is_dearer_than(Plan.objects.get(code=found.plan_code)):
        return None
    return found.trial_ends_at


def plan(code: str, *, field: str) -> Plan:
    """Return a plan on sale. Raises ValidationFailed under the name `field`."""
    plans = Plan.objects.prefetch_related("metrics").filter(on_sale=True)
    # Out of an address, too: PostgreSQL takes no NUL.
    found = plans.filter(code=code).first() if is_well_formed(code) else None
    if found is None:
        raise ValidationFailed({field: ["Unknown plan"]})
    return found


def quota(org_id: str, *, now: datetime) -> dict[str, Any]:
    """Return `{planCode, includedUnits, used, remaining}` as of `now`."""
    found = queries.current_entitlement(org_id=org_id, now=now)
    if found is None:
        raise PlanChangeConflict("Nothing was ever granted")
    return {
        "planCode": found.plan_code,
        "includedUnits": found.headline.included,
        "used": found.headline.used,
        "remaining": found.headline.remaining,
    }


def granted_by_staff(org_id: str, *, now: datetime) -> int:
    """Return the units of the headline metric that staff added to the current period."""
    counter = _headline(org_id, now)
    return counter.adjusted if counter else 0


def carried_over(org_id: str, *, now: datetime) -> int:
    """Return how many of those would move into a period that restarted now."""
    counter = _headline(org_id, now)
    return unspent(counter, counter.adjusted) if counter else 0


def _headline(org_id: str, now: datetime) -> UsageCounter | None:
    return UsageCounter.objects.filter(
        org_id=org_id, metric=HEADLINE_METRIC, period_start__lte=now, period_end__gt=now
    ).first()
