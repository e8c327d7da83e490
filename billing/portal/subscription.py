"""What the page says of the plan: where it stands, and where it can go from there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.conf import settings

from billing import catalogue
from billing.changes import standing
from billing.models import Plan, Subscription
from billing.money import price, unit_price
from billing.overage import deal
from billing.text import day, metric_name, units
from quotas import rules
from quotas.models import Entitlement, Status
from quotas.queries import CurrentEntitlement

Way = Literal["upgrade", "downgrade", "subscribe"]
_LABELS = {
    Status.TRIALING: ("Trial", "info"),
    Status.ACTIVE: ("Active", "good"),
    Status.PAST_DUE: ("Payment failed", "bad"),
    Status.PAUSED: ("Paused", "warn"),
    Status.UNPAID: ("Unpaid", "bad"),
    Status.INCOMPLETE: ("Not paid yet", "warn"),
}
_ENDED = ("Ended", "bad")


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan on sale, and how one gets there; `way` is None for the one that is held."""

    code: str
    name: str
    price: str
    includes: list[str]
    current: bool
    way: Way | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The plan that is held, in words, and what may be done with it."""

    organization: str
    name: str
    price: str
    label: str
    tone: str
    sentences: list[str]
    offers: list[Offer]
    can_cancel: bool
    can_resume: bool
    can_keep: bool
    needs_card: bool


def overview(current: CurrentEntitlement, *, now: datetime) -> Overview:
    """Return where an organisation stands at `now`. Raises NotFound."""
    entitlement = current.entitlement
    organization = standing.organization(entitlement.org_id)
    mirror = standing.leading(entitlement.org_id)
    plans = {plan.code: plan for plan in catalogue.on_sale()}
    held = plans.get(current.plan_code) or Plan.objects.filter(code=current.plan_code).first()
    if mirror is not None and mirror.plan_code == current.plan_code:
        # At the price that is paid for it, which the catalogue may have changed since.
        held = mirror.plan(plans)
    quantity = mirror.quantity if mirror is not None else 1
    label, tone = _LABELS.get(Status(entitlement.status), _ENDED)
    if label in ("Trial", "Active") and not rules.has_access(entitlement, now):
        # By time alone; the word from Stripe is on its way.
        label, tone = _ENDED
    return Overview(
        organization=organization.name,
        name=held.name if held else current.plan_code,
        price=costs(held, quantity) if held and (label, tone) != _ENDED else "",
        label=label,
        tone=tone,
        sentences=list(_sentences(entitlement, mirror, held, plans, now=now)),
        offers=[_offer(plan, entitlement, mirror, held) for plan in plans.values()],
        can_cancel=_is_live(mirror) and mirror is not None and mirror.cancel_at is None,
        can_resume=mirror is not None
        and (mirror.cancel_at is not None or mirror.status == Status.PAUSED),
        can_keep=mirror is not None and bool(mirror.stripe_schedule_id),
        needs_card=entitlement.status in (Status.PAST_DUE, Status.PAUSED, Status.UNPAID),
    )


def way_to(plan: Plan, mirror: Subscription | None, held: Plan | None) -> Way | None:
    """Return how one gets to a plan from where one stands; None where there is no way."""
    if mirror is None:
        return "subscribe"
    if not _is_live(mirror) or held is None or held.code == plan.code:
        return None
    if plan.is_dearer_than(held):
        return "upgrade"
    # A plan that is about to end is not made cheaper first.
    return "downgrade" if held.is_dearer_than(plan) and mirror.cancel_at is None else None


def includes(plan: Plan, quantity: int = 1, *, kept: deal.Stored | None = None) -> list[str]:
    """Write out what so many of a plan include; `kept` is what is paid past it already."""
    prices = deal.overage_prices(plan, kept=kept)
    lines = []
    for allowance in plan.metrics.all():
        more = ""
        price = deal.UnitPrice.from_stored(prices, allowance.metric)
        if price is not None:
            more = f", then {unit_price(price.amount, price.currency)} each"
        included = units(allowance.included_units * quantity)
        lines.append(f"{metric_name(allowance.metric)}: {included}{more}")
    return lines


def _offer(
    plan: Plan, entitlement: Entitlement, mirror: Subscription | None, held: Plan | None
) -> Offer:
    # The trial of a Checkout page has no subscription yet: its way on is that page.
    waiting = mirror is None and entitlement.status == Status.TRIALING
    scheduled = mirror is not None and mirror.scheduled_plan_code == plan.code
    way = None if waiting or scheduled else way_to(plan, mirror, held)
    current = held is not None and plan.code == held.code and mirror is not None
    # A change keeps the quantity; who subscribes again buys one.
    quantity = mirror.quantity if mirror is not None and _is_live(mirror) else 1
    shown = held if current and held is not None else plan
    kept = mirror.overage_prices_of(plan.code) if mirror is not None else None
    return Offer(
        plan.code,
        plan.name,
        costs(shown, quantity),
        includes(plan, quantity, kept=kept),
        current,
        way,
    )


def _sentences(
    entitlement: Entitlement,
    mirror: Subscription | None,
    held: Plan | None,
    plans: dict[str, Plan],
    *,
    now: datetime,
) -> Iterator[str]:
    for_price = f" for {costs(held, mirror.quantity if mirror else 1)}" if held else ""
    ending = mirror.cancel_at if mirror else entitlement.ends_at
    match entitlement.status:
        case Status.TRIALING if entitlement.trial_ends_at:
            yield from _of_trial(entitlement.trial_ends_at, mirror, for_price, ending, now=now)
        case Status.ACTIVE if ending is None and mirror and mirror.current_period_end:
            yield f"Renews on {day(mirror.current_period_end)}{for_price}."
        case Status.PAST_DUE if entitlement.past_due_since:
            until = day(entitlement.past_due_since + settings.PAST_DUE_GRACE)
            yield f"The last payment failed. Unless it is paid, requests are denied from {until}."
        case Status.PAUSED:
            yield "Your trial ended without a payment method. Add one, then start the plan again."
        case Status.UNPAID | Status.INCOMPLETE:
            yield "An invoice waits to be paid. Until then requests are denied."
        case Status.CANCELED | Status.INCOMPLETE_EXPIRED:
            yield "Your plan has ended and requests are denied. Choose a plan to go on."
    if ending is not None and ending > now:
        yield f"Cancelled: it ends on {day(ending)} and does not renew. Until then all of it works."
    if entitlement.scheduled_at and entitlement.scheduled_at > now:
        code = entitlement.scheduled_plan_code
        name = plans[code].name if code in plans else code
        yield f"Changes to {name} on {day(entitlement.scheduled_at)}."


def _of_trial(
    ends_at: datetime,
    mirror: Subscription | None,
    for_price: str,
    ending: datetime | None,
    *,
    now: datetime,
) -> Iterator[str]:
    if now >= ends_at:
        yield f"Your trial ended on {day(ends_at)}; the first payment is under way."
        return
    left = (ends_at - now).days
    when = "today" if left == 0 else "in 1 day" if left == 1 else f"in {left} days"
    yield f"Your trial ends {when}, on {day(ends_at)}."
    if mirror is None:
        yield "Complete the payment page you were sent to go on after that."
    elif ending is None:
        yield f"Then it goes on{for_price}."


def costs(plan: Plan, quantity: int = 1) -> str:
    """Write out what so many of a plan cost."""
    return price(plan.amount * quantity, plan.currency, plan.interval)


def _is_live(mirror: Subscription | None) -> bool:
    return mirror is not None and mirror.status in standing.LIVE
