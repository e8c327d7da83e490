"""What a change would cost, and what it would do to the quota. Writes nothing."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from django.db import transaction

from billing import catalogue, convergence
from billing.changes import sight, standing, upgrades
from billing.changes.errors import PlanChangeConflict
from billing.changes.payment import selling
from billing.models import Plan, Subscription
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from quotas.models import PeriodRule, Status
from quotas.queries import HEADLINE_METRIC
from quotas.rules import NOTHING

Proration = Literal["always_invoice", "create_prorations", "none"]
Json = dict[str, Any]
_QUOTA = ("includedUnits", "used", "remaining")


@dataclass(frozen=True, slots=True)
class Preview:
    """Amounts in minor units of `currency`, negative = credit; `proration_date` in Unix seconds.

    `ends_at`: when the subscription ends all the same, where a cancellation is
    pending: the change does not take it back.
    """

    amount: int
    currency: str
    proration_date: int
    items: list[Json]
    quota: Json
    ends_at: datetime | None


def preview(*, org_id: str, plan_code: str, proration: Proration) -> Preview:
    """Ask Stripe what moving to `plan_code` now would bill.

    `amount` is what is due now under `always_invoice` and where the billing cycle
    begins anew (a trial ends, another interval), and what the change adds to the next
    invoice otherwise. `quota` of a dearer plan is what the change will answer. The
    plan one is on costs nothing. Raises PlanChangeConflict, ValidationFailed for an
    unknown plan, and the gateway's errors.
    """
    wanted = standing.plan(plan_code, field="planCode")
    mirror = standing.live(org_id)
    gateway: Gateway = clients.stripe
    now = clock.now()
    with gateway.session(org_id=org_id):
        subscription = _running(mirror.stripe_subscription_id)
        current_item = sight.sold(subscription)
        item, quantity = current_item.item, current_item.quantity
        asked = {"prorationDate": None, "askedAt": int(now.timestamp())}
        date = upgrades.proration_date(item, asked)
        trialing = subscription["status"] == Status.TRIALING
        current = current_item.plan
        if wanted.is_dearer_than(current):
            sight.refuse_uncollected(subscription)
        restarts = current.code != wanted.code and _restarts(subscription, item, wanted)
        if current.code == wanted.code:
            amount, lines = 0, []
            currency = wanted.currency
        else:
            with selling(wanted) as sold:
                invoice = gateway.preview_change(
                    subscription_id=subscription["id"],
                    item_id=item["id"],
                    price_id=sold.price_id,
                    quantity=quantity,
                    further_items=sold.further_items(subscription),
                    proration=proration,
                    proration_date=None if trialing or proration == "none" else date,
                    end_trial=trialing,
                )
            billed = invoice["lines"]["data"]
            # A billing cycle that begins anew is billed at once, whatever was asked for.
            bills_now = proration == "always_invoice" or restarts
            if not bills_now:
                billed = _added(gateway, subscription, billed)
            lines = [_line(line) for line in billed]
            amount = invoice["amount_due"] if bills_now else sum(line["amount"] for line in lines)
            currency = invoice["currency"]
    if wanted.is_dearer_than(current):
        quota = _quota_after(mirror, wanted, quantity, restarts=restarts, now=now)
    elif wanted.code == current.code:
        quota = standing.quota(org_id, now=now)
    else:
        quota = _quota_of_smaller(org_id, wanted, quantity, restarts, now=now)
    kept = {name: quota[name] for name in _QUOTA}
    ends_at = _ends_at(subscription, lines if restarts else [])
    return Preview(amount, currency, date, lines, kept, ends_at)


def _ends_at(subscription: Json, restarted: list[Json]) -> datetime | None:
    """Return when a pending cancellation takes effect; None where none is pending.

    One that waits for the period's end waits for that of the period which the change
    begins: the lines of its invoice, `restarted`, say when that is.
    """
    if subscription["cancel_at"] is None:
        return None
    if restarted and subscription["cancel_at_period_end"]:
        return max(datetime.fromisoformat(line["periodEnd"]) for line in restarted)
    return convergence.instant(subscription["cancel_at"])


def _running(subscription_id: str) -> Json:
    try:
        subscription = convergence.retrieve(subscription_id)
    except StripeNotFound:
        subscription = None
    if subscription is None or subscription["status"] not in standing.LIVE:
        raise PlanChangeConflict("There is no running subscription to change")
    return subscription


def _restarts(subscription: Json, item: Json, wanted: Plan) -> bool:
    """Tell whether the billing cycle begins anew: trial ends, other interval, no longer free."""
    if subscription["status"] == Status.TRIALING:
        return True
    price = item["price"]
    was_free = not Decimal(price["unit_amount_decimal"] or price["unit_amount"] or 0)
    return price["recurring"]["interval"] != wanted.interval or (was_free and wanted.amount > 0)


def _added(gateway: Gateway, subscription: Json, billed: list[Json]) -> list[Json]:
    """Return the lines of the next invoice that are there for the change alone.

    The new period is billed anyway, and so is what waits from earlier changes.
    """
    prorations = [line for line in billed if _details(line).get("proration")]
    if not any(_details(line).get("invoice_item") for line in prorations):
        return prorations
    waiting = {
        one["id"]
        for one in gateway.list_invoice_items(
            customer_id=str(subscription["customer"]), pending=True
        )
    }
    return [line for line in prorations if _details(line).get("invoice_item") not in waiting]


def _quota_after(
    mirror: Subscription, wanted: Plan, quantity: int, *, restarts: bool, now: datetime
) -> Json:
    """Return the quota once the change is made: written down as it will be, and rolled back.

    Computed beside it, it would differ in some case from what the change answers.
    """
    with transaction.atomic():
        convergence.lock_organization(org_id=mirror.org_id)
        changed = Subscription.objects.select_for_update().get(pk=mirror.pk)
        changed.plan_code, changed.quantity = wanted.code, quantity
        changed.scheduled_plan_code, changed.scheduled_at = "", None
        if changed.status == Status.TRIALING:
            changed.status = Status.ACTIVE
        if restarts:
            changed.billing_cycle_anchor = now.replace(microsecond=0)
        changed.save()
        convergence.grant_from_mirrors(mirror.org_id, because="preview")
        quota = standing.quota(mirror.org_id, now=now)
        transaction.set_rollback(True)
    return quota


def _quota_of_smaller(
    org_id: str, wanted: Plan, quantity: int, restarts: bool, *, now: datetime
) -> Json:
    """Return the quota as a cheaper plan would leave it, although it begins later."""
    plan = catalogue.allowances_of(wanted, quantity=quantity).get(HEADLINE_METRIC, NOTHING)
    granted = standing.granted_by_staff(org_id, now=now)
    used: int = standing.quota(org_id, now=now)["used"]
    if restarts and catalogue.period_rule_of(wanted) != PeriodRule.CALENDAR_MONTH:
        # Stripe's billing cycle starts anew, and a quota period with it.
        used, granted = 0, standing.carried_over(org_id, now=now)
    included = max(0, plan.included + granted)
    return {"includedUnits": included, "used": used, "remaining": max(0, included - used)}


def _line(line: Json) -> Json:
    return {
        "description": line["description"] or "",
        "amount": line["amount"],
        "quantity": line["quantity"] or 1,
        "proration": bool(_details(line).get("proration")),
        "periodStart": rfc3339(convergence.instant(line["period"]["start"])),
        "periodEnd": rfc3339(convergence.instant(line["period"]["end"])),
    }


def _details(line: Json) -> Json:
    parent = line.get("parent") or {}
    found: Json = (
        parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    )
    return found
