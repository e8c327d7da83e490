"""What a change would cost, and what it would do to the quota. Writes nothing."""

from dataclasses import dataclass
from typing import Any, Literal

from billing import catalogue, convergence, prices
from billing.changes import standing
from billing.stripe_gateway import Gateway
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from quotas.models import Status
from quotas.queries import HEADLINE_METRIC
from quotas.rules import allowance

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
    to the next invoice otherwise. A trial would end. Raises PlanChangeConflict,
    ValidationFailed for an unknown plan, and the gateway's errors.
    """
    wanted = standing.plan(plan_code, field="planCode")
    mirror = standing.live(org_id)
    gateway: Gateway = clients.stripe
    with gateway.session():
        subscription = gateway.retrieve_subscription(subscription_id=mirror.stripe_subscription_id)
        trialing = subscription["status"] == Status.TRIALING
        date = int(clock.now().timestamp())
        invoice = gateway.preview_change(
            subscription_id=subscription["id"],
            item_id=convergence.plan_item(subscription)["id"],
            price_id=prices.price_id(wanted),
            proration=proration,
            proration_date=None if trialing or proration == "none" else date,
            end_trial=trialing,
        )
    lines = [_line(line) for line in invoice["lines"]["data"]]
    if proration == "always_invoice" or trialing:
        amount = invoice["amount_due"]
    else:
        lines = [line for line in lines if line["proration"]]
        amount = sum(line["amount"] for line in lines)
    held = standing.quota(org_id, now=clock.now())
    included = catalogue.allowances_of(wanted).get(HEADLINE_METRIC, allowance(None, ""))
    return Preview(
        amount=amount,
        currency=invoice["currency"],
        proration_date=date,
        items=lines,
        quota={
            "includedUnits": included.included,
            "used": held["used"],
            "remaining": max(0, included.included - held["used"]),
        },
    )


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
