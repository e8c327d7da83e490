"""What is asked before something is done: what will change, when, and what it costs."""

from dataclasses import dataclass, field

from billing.changes import standing
from billing.changes.errors import PlanChangeConflict
from billing.changes.preview import Preview, preview
from billing.models import Plan, Subscription
from billing.money import money
from billing.portal.subscription import Way, costs, includes, way_to
from billing.text import day, units
from config.contract import clock
from config.contract.errors import NotFound, ValidationFailed
from quotas.models import Status


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the invoice to come."""

    text: str
    amount: str


@dataclass(frozen=True, slots=True)
class Question:
    """A page that asks. `kind` is None where there is nothing left to ask.

    `fields` are sent back with the answer, so that what is done is what was shown.
    """

    kind: str | None
    title: str = ""
    paragraphs: list[str] = field(default_factory=list)
    button: str = ""
    stay: str = "Not now"
    total: str = ""
    lines: list[Line] = field(default_factory=list)
    includes: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    danger: bool = False


NOTHING = Question(None)


def of_plan(org_id: str, code: str) -> Question:
    """Ask about moving to a plan. Raises NotFound, PlanChangeConflict and the gateway's errors."""
    try:
        wanted = standing.plan(code, field="planCode")
    except ValidationFailed:
        # Here it is no field, it is the page's address.
        raise NotFound from None
    mirror = standing.leading(org_id)
    held = mirror.plan() if mirror else None
    way: Way | None = way_to(wanted, mirror, held)
    if held is not None and held.code == wanted.code:
        return NOTHING
    match way:
        case "upgrade":
            return _upgrade(org_id, wanted, mirror)
        case "downgrade":
            return _downgrade(wanted, held, mirror)
        case "subscribe":
            return _subscribe(org_id, wanted)
    raise PlanChangeConflict("There is no way from your plan to this one right now.")


def of_cancelling(org_id: str) -> Question:
    """Ask about ending the plan with its period."""
    mirror = _live(org_id)
    if mirror.cancel_at is not None:
        return NOTHING
    name = _name(mirror)
    ends = mirror.trial_ends_at if mirror.status == Status.TRIALING else mirror.current_period_end
    until = f"on {day(ends)}" if ends else "with its period"
    return Question(
        "cancel",
        title=f"Cancel {name}?",
        paragraphs=[
            f"Your plan ends {until} and does not renew. Until then all of it works, and you can"
            " change your mind.",
            "After that requests are denied. Statements and invoices stay available.",
        ],
        button=f"Cancel {name}",
        stay=f"Keep {name}",
        danger=True,
    )


def of_resuming(org_id: str) -> Question:
    """Ask about taking a cancellation back, or waking a paused plan."""
    mirror = standing.leading(org_id)
    if mirror is None:
        raise PlanChangeConflict("Your plan has ended. Choose a plan to subscribe again.")
    plan = _plan(mirror)
    price = costs(plan, mirror.quantity) if plan else ""
    if mirror.status == Status.PAUSED:
        return Question(
            "resume",
            title=f"Start {_name(mirror)} again?",
            paragraphs=[f"It is billed again from now on, for {price}, on your payment method."],
            button=f"Start {_name(mirror)}",
        )
    if mirror.cancel_at is None:
        return NOTHING
    return Question(
        "resume",
        title=f"Go on with {_name(mirror)}?",
        paragraphs=[f"Your cancellation is taken back. The plan renews as before, for {price}."],
        button="Go on",
    )


def of_keeping(org_id: str) -> Question:
    """Ask about taking a scheduled downgrade back."""
    mirror = _live(org_id)
    if not mirror.stripe_schedule_id:
        return NOTHING
    return Question(
        "keep-plan",
        title=f"Stay on {_name(mirror)}?",
        paragraphs=[f"The scheduled change is dropped. You stay on {_name(mirror)} and it renews."],
        button=f"Stay on {_name(mirror)}",
    )


def _upgrade(org_id: str, wanted: Plan, mirror: Subscription | None) -> Question:
    found = preview(org_id=org_id, plan_code=wanted.code, proration="always_invoice")
    due = money(found.amount, found.currency)
    quantity = mirror.quantity if mirror is not None else 1
    paragraphs = [f"From now on {costs(wanted, quantity)}."]
    if mirror is not None and mirror.status == Status.TRIALING:
        paragraphs.append("Your trial ends with this, and the plan is paid from today.")
    if mirror is not None and mirror.stripe_schedule_id:
        paragraphs.append("The change that was scheduled is dropped.")
    if found.ends_at is not None:
        paragraphs.append(
            f"Your cancellation stays: the plan still ends on {day(found.ends_at)}, unless you"
            " take that back."
        )
    used, left = found.quota["used"], found.quota["remaining"]
    paragraphs.append(f"What you used stays counted: {units(used)} API calls, {units(left)} left.")
    return Question(
        "upgrade",
        title=f"Upgrade to {wanted.name}?",
        paragraphs=paragraphs,
        button=f"Upgrade and pay {due}" if found.amount > 0 else "Upgrade",
        total=due,
        lines=_lines(found),
        includes=includes(wanted, quantity),
        fields={
            "expected_amount": str(found.amount),
            "proration_date": str(found.proration_date),
        },
    )


def _downgrade(wanted: Plan, held: Plan | None, mirror: Subscription | None) -> Question:
    at = mirror.current_period_end if mirror else None
    name = held.name if held else "your plan"
    when = day(at) if at else "the end of the period"
    return Question(
        "downgrade",
        title=f"Change to {wanted.name}?",
        paragraphs=[
            f"You keep {name} until {when}. From then on it is {wanted.name}, for"
            f" {costs(wanted, mirror.quantity if mirror else 1)}.",
            "Nothing is charged now, and you can change your mind until then.",
        ],
        button=f"Change on {when}" if at else "Change",
        includes=includes(wanted, mirror.quantity if mirror else 1),
    )


def _subscribe(org_id: str, wanted: Plan) -> Question:
    due = money(wanted.amount, wanted.currency)
    keeps = standing.promised_until(org_id, wanted, now=clock.now())
    if keeps is not None:
        return Question(
            "subscribe",
            title=f"Subscribe to {wanted.name}?",
            paragraphs=[
                f"Your trial goes on until {day(keeps)}. From then on it is {costs(wanted)}, on"
                " your payment method. Nothing is charged now.",
            ],
            button="Subscribe",
            includes=includes(wanted),
        )
    return Question(
        "subscribe",
        title=f"Subscribe to {wanted.name}?",
        paragraphs=[
            f"It starts now, for {costs(wanted)}, on your"
            " payment method. There is no second trial.",
        ],
        button=f"Subscribe and pay {due}",
        total=due,
        includes=includes(wanted),
    )


def _lines(found: Preview) -> list[Line]:
    return [Line(one["description"], money(one["amount"], found.currency)) for one in found.items]


def _live(org_id: str) -> Subscription:
    try:
        return standing.live(org_id)
    except PlanChangeConflict:
        raise PlanChangeConflict("There is no running plan to change.") from None


def _plan(mirror: Subscription) -> Plan | None:
    return mirror.plan()


def _name(mirror: Subscription) -> str:
    plan = _plan(mirror)
    return plan.name if plan else mirror.plan_code
