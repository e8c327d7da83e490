"""What a change would cost, and what it would do to the quota. Writes nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from billing import catalogue, convergence
from billing.changes import sight, standing, upgrades
from billing.changes.errors import PlanChangeConflict
from billing.changes.payment import selling
from billing.models import Plan
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from quotas.models import PeriodRule, Status
from quotas.queries import HEADLINE_METRIC
from quotas.rules import NOTHING

Proration = Literal["always_invoice", "create_prorations", "none"]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """Amounts in minor units of `currency`, negative = credit; `proration_date` in Unix seconds."""

    amount: int
    currency: str
    proration_date: int
    items: list[Json]
    quota: Json


def preview(*, org_id: str, plan_code: str, proration: Proration) -> Preview:
    """Ask Stripe what moving to `plan_code` now would bill.

    `amount` is what is due now under `always_invoice`, and what the change adds
    to the next invoice otherwise. A trial would end. The plan one is on costs
    nothing. Raises PlanChangeConflict, ValidationFailed for an unknown plan, and
    the gateway's errors.
    """
    wanted = standing.plan(plan_code, field="planCode")
    mirror = standing.live(org_id)
    gateway: Gateway = clients.stripe
    now = clock.now()
    with gateway.session(org_id=org_id):
        subscription = _running(gateway, mirror.stripe_subscription_id)
        item = convergence.plan_item(subscription)
        asked = {"prorationDate": None, "askedAt": int(now.timestamp())}
        date = upgrades.proration_date(item, asked)
        trialing = subscription["status"] == Status.TRIALING
        current = sight.plan_of(subscription)
        if wanted.is_dearer_than(current):
            sight.refuse_uncollected(subscription)
        if current.code == wanted.code:
            amount, lines = 0, []
            currency = wanted.currency
        else:
            with selling(wanted) as sold:
                invoice = gateway.preview_change(
                    subscription_id=subscription["id"],
                    item_id=item["id"],
                    price_id=sold.price_id,
                    further_items=sold.further_items(subscription),
                    proration=proration,
                    proration_date=None if trialing or proration == "none" else date,
                    end_trial=trialing,
                )
            bills_now = proration == "always_invoice" or trialing
            lines = [_line(line) for line in invoice["lines"]["data"]]
            if not bills_now:
                # The rest of that invoice would be billed anyway.
                lines = [line for line in lines if line["proration"]]
            amount = invoice["amount_due"] if bills_now else sum(line["amount"] for line in lines)
            currency = invoice["currency"]
    restarts = current.code != wanted.code and (trialing or current.interval != wanted.interval)
    return Preview(amount, currency, date, lines, _quota(org_id, wanted, restarts, now=now))


def _running(gateway: Gateway, subscription_id: str) -> Json:
    try:
        subscription = gateway.retrieve_subscription(subscription_id=subscription_id)
    except StripeNotFound:
        subscription = None
    if subscription is None or subscription["status"] not in standing.LIVE:
        raise PlanChangeConflict("There is no running subscription to change")
    return subscription


def _quota(org_id: str, wanted: Plan, restarts: bool, *, now: datetime) -> Json:
    plan = catalogue.allowances_of(wanted).get(HEADLINE_METRIC, NOTHING)
    granted = standing.granted_by_staff(org_id, now=now)
    used: int = standing.quota(org_id, now=now)["used"]
    if restarts and catalogue.period_rule_of(wanted) != PeriodRule.CALENDAR_MONTH:
        # Stripe's billing cycle starts anew, and a quota period with it.
        used, granted = 0, standing.carried_over(org_id, now=now)
    included = max(0, plan.included + granted)
    return {"includedUnits": included, "used": used, "remaining": max(0, included - used)}


def _line(line: Json) -> Json:
    parent = line.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    return {
        "description": line["description"] or "",
        "amount": line["amount"],
        "quantity": line["quantity"] or 1,
        "proration": bool(details.get("proration")),
        "periodStart": rfc3339(convergence.instant(line["period"]["start"])),
        "periodEnd": rfc3339(convergence.instant(line["period"]["end"])),
    }
