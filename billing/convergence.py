"""Convergence: the local state follows what Stripe says now, whoever asks and in any order.

An event, a write of ours, the completer and the reconciler all say the same thing:
*this object may have changed*. Each fetches it under a number taken before the
fetch; a fetch is applied only if its number is higher than the last one applied.
What Stripe changed after a fetch began sends its own event, whose later number wins.

Who has just written to Stripe takes its number after the write, never before: a
fetch with a lower number, which may not show the write, is then dropped or written
over, and one with a higher number began later still and shows it. So what holds
once the fetch was applied (or dropped for a newer one) has the write in it, and
the answer is read from that.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from django.db import transaction

from billing import catalogue, known_prices, numbering
from billing.models import InvoiceRef, Organization, Plan, PlanPrice, Subscription
from billing.overage import deal
from billing.stripe_gateway import Gateway, StripeNotFound, is_metered
from config.contract import clock, history
from config.contract.clients import clients
from config.contract.errors import ApiError
from quotas.models import Status
from quotas.services import ScheduledChange, grant
from tokens import access

logger = structlog.get_logger("metergate.convergence")
Json = dict[str, Any]


class UnknownPrice(ApiError):
    """A plan is to be changed of a subscription that is on no price of any plan (502)."""

    def __init__(self, subscription_id: str) -> None:
        super().__init__("STRIPE_ERROR", "The subscription is on a price of no plan", 502)
        logger.error("price_unknown", subscription=subscription_id)


@dataclass(frozen=True, slots=True)
class PlanItem:
    """The item of a subscription (or of a schedule's phase) that sells a plan."""

    item: Json
    price: PlanPrice

    @property
    def quantity(self) -> int:
        """How many of the plan are paid for: all that it includes is multiplied by it."""
        return int(self.item.get("quantity", 1))

    @property
    def plan(self) -> Plan:
        """The plan at the price that is paid for it (PlanPrice.applied_to)."""
        plan = Plan.objects.prefetch_related("metrics").get(code=self.price.plan_code)
        return self.price.applied_to(plan)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A subscription as Stripe had it after `number` was taken; None where it is gone."""

    subscription_id: str
    number: int
    subscription: Json | None
    schedule: Json | None = None


def take_number(subscription_id: str) -> int:
    """Number a fetch that is about to begin (billing.numbering)."""
    return numbering.take_number(Subscription, subscription_id)


def fetch(subscription_id: str, *, number: int | None = None) -> Fetched:
    """Fetch a subscription and its schedule. Raises the gateway's errors. No transaction open.

    Under the number 0 it is for looking only, and the prices it is on are not remembered.
    """
    number = take_number(subscription_id) if number is None else number
    gateway: Gateway = clients.stripe
    with gateway.session():
        try:
            subscription = gateway.retrieve_subscription(subscription_id=subscription_id)
        except StripeNotFound:
            return Fetched(subscription_id, number, None)
        fetched = Fetched(
            subscription_id, number, subscription, _schedule_of(gateway, subscription)
        )
        if number:
            _learn_prices(fetched)
        return fetched


def retrieve(subscription_id: str) -> Json:
    """Return a subscription as Stripe has it now; the prices it is on are remembered.

    Raises the gateway's errors. No transaction open.
    """
    gateway: Gateway = clients.stripe
    with gateway.session():
        subscription = gateway.retrieve_subscription(subscription_id=subscription_id)
        _learn_prices(Fetched(subscription_id, 0, subscription))
    return subscription


def _learn_prices(fetched: Fetched) -> None:
    """Remember the plans' prices that came whole with a subscription and its schedule."""
    phases = fetched.schedule["phases"] if fetched.schedule else []
    subscriptions = [fetched.subscription["items"]["data"]] if fetched.subscription else []
    for items in (*subscriptions, *(phase["items"] for phase in phases)):
        prices = [item["price"] for item in items if isinstance(item["price"], dict)]
        known_prices.learn_of_items(clients.stripe, prices, now=clock.now())


def apply(fetched: Fetched, *, because: str) -> str | None:
    """Write a fetch down unless a newer one is; returns the organisation it belongs to.

    Runs inside the caller's transaction. A terminal state is final. The
    entitlement is computed from all of the organisation's subscriptions, so that
    a late word of a dead one cannot lock out its successor. One on a price of no
    plan stays on the plan it was last known to be on, and follows in all else.
    """
    organization = _organization_of(fetched)
    mirror = (
        Subscription.objects.select_for_update()
        .filter(stripe_subscription_id=fetched.subscription_id)
        .get()
    )
    org_id = mirror.org_id or (organization.org_id if organization else "")
    is_newer = fetched.number > mirror.fetch_applied
    becomes_known = mirror.org_id != org_id
    if not is_newer and not becomes_known:
        return org_id or None
    if is_newer:
        mirror.fetch_applied = fetched.number
        if mirror.status not in Subscription.TERMINAL:
            _write(mirror, fetched)
    # A webhook may have been applied before the organisation was there to link it to.
    mirror.org_id = org_id
    with history.because(because):
        mirror.save()
    if organization is None:
        # Known to Stripe before it is known here (or never): linked when it is.
        logger.warning("subscription_unlinked", subscription=fetched.subscription_id)
        return None
    if becomes_known:
        _link_invoices(organization)
    grant_from_mirrors(org_id, because=because)
    return org_id


def converge(subscription_id: str, *, because: str) -> str | None:
    """Fetch a subscription and write it down. Raises the gateway's errors."""
    fetched = fetch(subscription_id)
    with transaction.atomic():
        return apply(fetched, because=because)


def grant_from_mirrors(org_id: str, *, because: str) -> None:
    """Grant what the organisation's subscriptions, taken together, entitle it to.

    The organisation is locked. The one that leads grants (billing.mirrors). One
    whose plan was never known can grant nothing, and keeps no other from granting.
    """
    now = clock.now()
    mirrors = Subscription.objects.filter(org_id=org_id).exclude(plan_code="")
    leading = mirrors.leading(now=now)
    if leading is None:
        return
    plan = Plan.objects.prefetch_related("metrics").get(code=leading.plan_code)
    access.open_access(org_id, installation_limit=plan.installation_limit * leading.quantity)
    grant(
        org_id=org_id,
        plan_code=plan.code,
        status=leading.status,
        allowances=catalogue.allowances_of(plan, quantity=leading.quantity),
        # The catalogue may allow overage since the mirror was written.
        overage_prices=deal.overage_prices(plan, kept=leading.overage_prices),
        because=because,
        now=now,
        anchor_at=leading.billing_cycle_anchor or leading.created_at or now,
        period_rule=catalogue.period_rule_of(plan),
        trial_ends_at=leading.trial_ends_at,
        past_due_since=leading.past_due_since,
        ends_at=leading.cancel_at,
        scheduled=_scheduled(leading, plan),
    )


def hand_over(*, now: datetime) -> int:
    """Grant anew where time alone may have changed which subscription leads.

    A grace that ran out, a cancellation or a scheduled change that took effect: of
    these no event need tell, and another subscription may be paid for meanwhile.
    Returns how many organisations were looked at. Safe to repeat.
    """
    due = Subscription.objects.beside_another(now=now).values_list("org_id", flat=True)
    orgs = sorted(set(due))
    for org_id in orgs:
        with transaction.atomic():
            if lock_organization(org_id=org_id) is not None:
                grant_from_mirrors(org_id, because="another subscription leads")
    return len(orgs)


def lock_organization(
    *, customer_id: str | None = None, org_id: str | None = None
) -> Organization | None:
    """Lock and return the organisation of a customer at Stripe; None where it is not ours."""
    locked = Organization.objects.select_for_update()
    found = locked.filter(stripe_customer_id=customer_id).first() if customer_id else None
    if found is None and org_id:
        found = locked.filter(org_id=org_id).first()
        if found is not None and customer_id and found.stripe_customer_id != customer_id:
            # Somebody else's customer carries this organisation's id: not ours to follow.
            logger.error("customer_mismatch", org_id=org_id)
            return None
    return found


def sold_item(subscription: Json) -> PlanItem | None:
    """Return the item that sells the plan, known by its price; None where no item does.

    Add-ons stand beside it, in any order. Of two that sell plans it is the dearer.
    """
    return item_that_sells(subscription["items"]["data"])


def plan_item(subscription: Json) -> Json:
    """Return the item that sells the plan. Raises UnknownPrice where none does."""
    sold = sold_item(subscription)
    if sold is None:
        raise UnknownPrice(str(subscription["id"]))
    return sold.item


def main_item(subscription: Json) -> Json:
    """Return the plan's item, or where no item sells a plan the one that stands for it."""
    sold = sold_item(subscription)
    if sold is not None:
        return sold.item
    items: list[Json] = subscription["items"]["data"]
    return next((item for item in items if not is_metered(item)), items[0])


def item_that_sells(items: list[Json]) -> PlanItem | None:
    """Return the item that sells a plan; prices are whole or (in a schedule's phase) ids."""
    own = [item for item in _plans_items(items) if item.price.is_plans_own]
    return max(own, key=lambda item: item.price.monthly_amount, default=None)


def _plans_items(items: list[Json]) -> list[PlanItem]:
    """Return those of the items that sell a plan, or use past one."""
    whole = [item["price"] for item in items if isinstance(item["price"], dict)]
    known = known_prices.identified(whole)
    known |= known_prices.by_id(_id(item["price"]) for item in items if item["price"] not in whole)
    return [
        PlanItem(item, known[_id(item["price"])]) for item in items if _id(item["price"]) in known
    ]


def _overage_prices(sold: PlanItem, items: list[Json], kept: deal.Stored) -> deal.Stored:
    """Return what use past the plan that is sold costs, of which `kept` held so far."""
    metered = any(isinstance(item["price"], str) or is_metered(item) for item in items)
    prices = [item.price for item in _plans_items(items)] if metered else []
    return deal.overage_prices(sold.plan, item_prices=prices, kept=kept)


def is_collection_given_up(subscription: Json) -> bool:
    """Tell whether staff at Stripe paused collection so that what is billed is never paid.

    Under `keep_as_draft` it is collected later, when they take the pause back.
    """
    pause = subscription.get("pause_collection") or {}
    return pause.get("behavior") in ("void", "mark_uncollectible")


def status_of(subscription: Json) -> str:
    """Return the status that access, and every rule here, goes by.

    It is Stripe's, but for an active one that nobody collects: it is past due, from
    when that was first seen. Nothing is to be collected in a trial: it goes on.
    """
    if subscription["status"] == Status.ACTIVE and is_collection_given_up(subscription):
        return Status.PAST_DUE
    return str(subscription["status"])


def instant(unix: int) -> datetime:
    """Read Stripe's whole seconds."""
    return datetime.fromtimestamp(unix, UTC)


def _maybe(unix: int | None) -> datetime | None:
    return None if unix is None else instant(unix)


def _write(mirror: Subscription, fetched: Fetched) -> None:
    now = clock.now()
    subscription = fetched.subscription
    if subscription is None:
        # Gone at Stripe: a tombstone, not a blank.
        mirror.status = Status.CANCELED
        mirror.ended_at = mirror.ended_at or now
        return
    sold = sold_item(subscription)
    item = main_item(subscription) if sold is None else sold.item
    was = mirror.status
    kept = _kept_prices(mirror, price_id=item["price"]["id"])
    mirror.stripe_customer_id = str(subscription["customer"])
    mirror.status = status_of(subscription)
    if sold is not None:
        mirror.plan_code, mirror.quantity = sold.price.plan_code, sold.quantity
        mirror.overage_prices = _overage_prices(
            sold, subscription["items"]["data"], kept.get(mirror.plan_code, {})
        )
    elif mirror.status not in Subscription.TERMINAL:
        # The last known plan stays; whether there is access does not depend on it.
        logger.error("price_unknown", subscription=subscription["id"])
    mirror.stripe_item_id = item["id"]
    mirror.stripe_price_id = item["price"]["id"]
    mirror.stripe_schedule_id = _id(subscription.get("schedule"))
    mirror.current_period_start = instant(item["current_period_start"])
    mirror.current_period_end = instant(item["current_period_end"])
    mirror.billing_cycle_anchor = instant(subscription["billing_cycle_anchor"])
    mirror.trial_ends_at = _maybe(subscription["trial_end"])
    mirror.cancel_at = _maybe(subscription["cancel_at"])
    mirror.ended_at = _maybe(subscription["ended_at"])
    mirror.created_at = instant(subscription["created"])
    if mirror.status == Status.PAST_DUE:
        mirror.past_due_since = mirror.past_due_since if was == Status.PAST_DUE else now
    else:
        mirror.past_due_since = None
    _write_next_plan(mirror, fetched, kept)


def _kept_prices(mirror: Subscription, *, price_id: str) -> dict[str, deal.Stored]:
    """Return what a mirror knows, by plan, of the prices of use past it.

    Whoever was moved to another price of the same plan has a new deal in all.
    """
    kept = {}
    if mirror.scheduled_plan_code:
        kept[mirror.scheduled_plan_code] = mirror.scheduled_overage_prices
    if mirror.plan_code and mirror.stripe_price_id == price_id:
        kept[mirror.plan_code] = mirror.overage_prices
    return kept


def _write_next_plan(mirror: Subscription, fetched: Fetched, kept: dict[str, deal.Stored]) -> None:
    """Write down the plan that a schedule changes to, how many of it, at what, and when.

    A phase that sells no plan says nothing of it: the running one goes on here.
    """
    mirror.scheduled_plan_code, mirror.scheduled_quantity, mirror.scheduled_at = "", 1, None
    mirror.scheduled_overage_prices = {}
    schedule = fetched.schedule
    if schedule is None or schedule["status"] not in ("active", "not_started"):
        return
    for phase in _later_phases(schedule):
        sold = item_that_sells(phase["items"])
        if sold is not None and sold.price.plan_code != mirror.plan_code:
            mirror.scheduled_plan_code = sold.price.plan_code
            mirror.scheduled_quantity = sold.quantity
            mirror.scheduled_at = instant(phase["start_date"])
            mirror.scheduled_overage_prices = _overage_prices(
                sold, phase["items"], kept.get(sold.price.plan_code, {})
            )
            return


def unknown_phases(fetched: Fetched) -> list[Json]:
    """Return the phases to come of its schedule that sell no plan."""
    schedule = fetched.schedule
    if schedule is None or schedule["status"] not in ("active", "not_started"):
        return []
    return [phase for phase in _later_phases(schedule) if item_that_sells(phase["items"]) is None]


def _later_phases(schedule: Json) -> list[Json]:
    reached = int(clock.now().timestamp())
    current = (schedule.get("current_phase") or {}).get("start_date") or reached
    return [phase for phase in schedule["phases"] if phase["start_date"] > current]


def _scheduled(mirror: Subscription, current: Plan) -> ScheduledChange | None:
    if mirror.scheduled_at is None:
        return None
    plan = Plan.objects.prefetch_related("metrics").get(code=mirror.scheduled_plan_code)
    return ScheduledChange(
        plan.code,
        catalogue.allowances_of(plan, quantity=mirror.scheduled_quantity),
        mirror.scheduled_at,
        catalogue.period_rule_of(plan),
        # Another interval starts a billing cycle of its own.
        mirror.scheduled_at if plan.interval != current.interval else None,
        deal.overage_prices(plan, kept=mirror.scheduled_overage_prices),
    )


def _schedule_of(gateway: Gateway, subscription: Json) -> Json | None:
    schedule_id = _id(subscription.get("schedule"))
    if not schedule_id:
        return None
    schedule = gateway.retrieve_schedule(schedule_id=schedule_id)
    for phase in _later_phases(schedule):
        if item_that_sells(phase["items"]) is None:
            # Phases name prices by id; what one sells may have to be asked for.
            for item in phase["items"]:
                with suppress(StripeNotFound):
                    item["price"] = gateway.retrieve_price(price_id=_id(item["price"]))
    return schedule


def _organization_of(fetched: Fetched) -> Organization | None:
    if fetched.subscription is None:
        known = Subscription.objects.filter(stripe_subscription_id=fetched.subscription_id).first()
        return lock_organization(org_id=known.org_id if known else None)
    metadata = fetched.subscription.get("metadata") or {}
    return lock_organization(
        customer_id=str(fetched.subscription["customer"]), org_id=metadata.get("org_id")
    )


def _link_invoices(organization: Organization) -> None:
    # Their events may have come before the sign-up that made the customer was committed.
    InvoiceRef.objects.filter(stripe_customer_id=organization.stripe_customer_id, org_id="").update(
        org_id=organization.org_id
    )


def _id(reference: Any) -> str:
    if reference is None:
        return ""
    return str(reference["id"] if isinstance(reference, dict) else reference)
