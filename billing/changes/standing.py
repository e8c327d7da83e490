"""Where an organisation stands: its leading subscription, its plan, what it may use."""

from datetime import datetime
from typing import Any

from billing import mirrors
from billing.changes.errors import PlanChangeConflict
from billing.models import Organization, Plan, Subscription
from config.contract import clock
from config.contract.errors import NotFound, ValidationFailed
from quotas import queries
from quotas.adjustments import unspent
from quotas.models import UsageCounter
from quotas.queries import HEADLINE_METRIC

#: States in which there is something to change.
LIVE = mirrors.LIVE


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
        raise PlanChangeConflict("There is no running subscription to change")
    return found


def plan(code: str, *, field: str) -> Plan:
    """Return a plan on sale. Raises ValidationFailed under the name `field`."""
    found = Plan.objects.prefetch_related("metrics").filter(code=code, on_sale=True).first()
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
