"""Changing an organisation's plan on its behalf, through the very engine of the API."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from billing import catalogue
from billing.changes import services, standing
from billing.changes.errors import PlanChangeConflict
from billing.changes.preview import preview
from billing.models import Plan, Subscription
from billing.money import money
from config.backoffice.acts.base import (
    ORG_PAGES,
    Asked,
    By,
    Change,
    Done,
    Effect,
    Facts,
    OrgAct,
    of_its_org,
)
from config.backoffice.acts.forms import OrgActForm, choice
from config.contract import clock
from quotas.models import Status

_PERMISSION = "backoffice.change_plan"
_ROWS = {**ORG_PAGES, "billing.Subscription": of_its_org}


class PlanForm(OrgActForm):
    """To which plan."""

    plan_code = forms.ChoiceField(
        label="Plan",
        choices=lambda: [
            (plan.code, f"{plan.name}, {money(plan.amount, plan.currency)} a {plan.interval}")
            for plan in Plan.objects.filter(on_sale=True)
        ],
        widget=UnfoldAdminSelectWidget(),
    )


class ChangePlan(OrgAct):
    """POST /api/plans/upgrade, downgrade or subscribe: what the chosen plan asks for."""

    name = "change-plan"
    title = "Change plan"
    about = (
        "A dearer plan begins now and is charged in proportion; a cheaper one begins with the"
        " next billing period. The counters are kept."
    )
    group = "Plan"
    icon = "swap_vert"
    permission = _PERMISSION
    form = PlanForm
    dangerous = True
    rows = _ROWS

    def effect(self, asked: Asked) -> Effect:
        """Return Stripe's own preview of it."""
        org_id = asked["org_id"]
        wanted = standing.plan(asked["plan_code"], field="planCode")
        mirror = standing.leading(org_id)
        if mirror is None:
            return _subscribe(org_id, wanted)
        standing.live(org_id)  # refuses what is neither over nor running
        held = mirror.plan()
        if held is None:
            raise PlanChangeConflict("The subscription is on a price of no plan")
        if wanted.is_dearer_than(held):
            return _upgrade(org_id, mirror, held, wanted)
        return _downgrade(mirror, held, wanted)

    def still_holds(self, shown: Facts, now: Facts) -> bool:
        """Stripe itself compares the amount: it changes with each second of a period."""
        moving = ("amount", "date")
        return all(shown[name] == now[name] for name in shown if name not in moving)

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Change it, at the amount that was shown."""
        org_id, plan_code, key = asked["org_id"], asked["plan_code"], f"staff:{by.uuid}"
        match shown["kind"]:
            case "upgrade":
                answer = services.upgrade(
                    org_id=org_id,
                    new_plan_code=plan_code,
                    proration_date=shown["date"],
                    expected_amount=shown["amount"],
                    key=key,
                )
                return Done(
                    f"On {plan_code} now: {answer.data['includedUnits']:,} included,"
                    f" {answer.data['remaining']:,} remain."
                )
            case "downgrade":
                answer = services.downgrade(org_id=org_id, new_plan_code=plan_code, key=key)
                return Done(f"On {plan_code} from {answer.data['effectiveAt']} on.")
            case _:
                answer = services.subscribe(org_id=org_id, plan_code=plan_code, key=key)
                return Done(f"Subscribed to {plan_code}: {answer.data['status']}.")


class KeepPlan(OrgAct):
    """DELETE /api/plans/downgrade."""

    name = "keep-plan"
    title = "Take the downgrade back"
    about = "Releases a change that was scheduled for the end of the billing period."
    group = "Plan"
    icon = "event_busy"
    permission = _PERMISSION
    rows = _ROWS

    def suits(self, org_id: str) -> bool:
        """Only where one is scheduled."""
        mirror = standing.leading(org_id)
        return mirror is not None and mirror.scheduled_at is not None

    def effect(self, asked: Asked) -> Effect:
        """Return what is scheduled."""
        mirror = standing.leading(asked["org_id"])
        if mirror is None or mirror.scheduled_at is None:
            return Effect([], {"at": None}, ["Nothing is scheduled."], idle=True)
        at = f"{mirror.scheduled_at:%Y-%m-%d %H:%M}"
        return Effect(
            [Change(f"Plan from {at} UTC on", mirror.scheduled_plan_code, mirror.plan_code)],
            {"at": at, "to": mirror.scheduled_plan_code},
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Release it."""
        services.keep_plan(org_id=asked["org_id"])
        return Done("The scheduled change was taken back.")


class CancelForm(OrgActForm):
    """When."""

    at = choice(
        "When",
        [("period_end", "At the end of the period that is paid for"), ("now", "Now")],
        help_text="Now ends access at once; nothing is paid back by itself.",
    )


class Cancel(OrgAct):
    """POST /api/plans/cancel."""

    name = "cancel-subscription"
    title = "Cancel subscription"
    about = "Ends the subscription at Stripe. Access ends with it."
    group = "Plan"
    icon = "cancel"
    permission = _PERMISSION
    form = CancelForm
    dangerous = True
    rows = _ROWS

    def suits(self, org_id: str) -> bool:
        """Only where one runs."""
        return standing.leading(org_id) is not None

    def effect(self, asked: Asked) -> Effect:
        """Return when it would end."""
        mirror = _leading(asked["org_id"])
        ends = "now" if asked["at"] == "now" else _day(mirror.current_period_end)
        before = _day(mirror.cancel_at) if mirror.cancel_at else "goes on"
        idle = before == ends
        notes = ["It ends then already."] if idle else []
        if mirror.scheduled_at:
            notes.append(
                f"The change to {mirror.scheduled_plan_code} that is scheduled is dropped."
            )
        return Effect(
            [
                Change(
                    f"Subscription to {mirror.plan_code}, {mirror.status}", before, f"ends {ends}"
                )
            ],
            {"status": mirror.status, "plan": mirror.plan_code, "before": before, "ends": ends},
            notes,
            idle=idle,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Cancel it."""
        answer = services.cancel(org_id=asked["org_id"], at=asked["at"], key=f"staff:{by.uuid}")
        return Done(f"Cancelled: {answer.data['status']}, ends {answer.data['endsAt']}.")


class Resume(OrgAct):
    """POST /api/plans/resume."""

    name = "resume-subscription"
    title = "Resume subscription"
    about = "Takes a pending cancellation back, or starts a paused subscription again."
    group = "Plan"
    icon = "play_circle"
    permission = _PERMISSION
    rows = _ROWS

    def suits(self, org_id: str) -> bool:
        """Only what is about to end, or paused."""
        mirror = standing.leading(org_id)
        return mirror is not None and _stopped(mirror)

    def effect(self, asked: Asked) -> Effect:
        """Return what would go on."""
        mirror = _leading(asked["org_id"])
        before = f"ends {_day(mirror.cancel_at)}" if mirror.cancel_at else mirror.status
        notes = [] if _stopped(mirror) else ["It goes on as it is: nothing is pending."]
        if mirror.status == Status.PAUSED:
            notes.append("Resuming begins a new billing period, which Stripe charges at once.")
        return Effect(
            [Change(f"Subscription to {mirror.plan_code}", before, "goes on")],
            {"status": mirror.status, "before": before},
            notes,
            idle=not _stopped(mirror),
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Resume it."""
        answer = services.resume(org_id=asked["org_id"], key=f"staff:{by.uuid}")
        return Done(f"It goes on: {answer.data['status']}.")


def _upgrade(org_id: str, mirror: Subscription, held: Plan, wanted: Plan) -> Effect:
    found = preview(org_id=org_id, plan_code=wanted.code, proration="always_invoice")
    changes = [
        Change("Plan, from now on", held.name, wanted.name),
        *_allowances(held, wanted, mirror.quantity),
        Change("Charged now", "–", money(found.amount, found.currency)),
    ]
    notes = [f"{one['description']}: {money(one['amount'], found.currency)}" for one in found.items]
    if mirror.status == Status.TRIALING:
        notes.insert(0, "The trial ends now.")
    if found.ends_at is not None:
        notes.insert(0, f"The cancellation stays: it still ends {_day(found.ends_at)}.")
    if mirror.scheduled_at:
        notes.insert(0, f"The change to {mirror.scheduled_plan_code} is taken back.")
    return Effect(
        changes,
        {
            "kind": "upgrade",
            "from": held.code,
            "to": wanted.code,
            "status": mirror.status,
            "amount": found.amount,
            "date": found.proration_date,
        },
        notes,
    )


def _downgrade(mirror: Subscription, held: Plan, wanted: Plan) -> Effect:
    at = _day(mirror.current_period_end)
    facts = {"kind": "downgrade", "from": held.code, "to": wanted.code, "at": at}
    if wanted.code == held.code:
        return Effect([], facts, ["It is on this plan already."], idle=True)
    if not held.is_dearer_than(wanted):
        raise PlanChangeConflict("The plan is neither dearer nor cheaper than the current one")
    if mirror.cancel_at:
        raise PlanChangeConflict("The subscription is about to be cancelled: resume it first")
    if mirror.scheduled_plan_code == wanted.code:
        return Effect([], facts, [f"That is scheduled already, for {at}."], idle=True)
    return Effect(
        [
            Change(f"Plan, from {at} on", held.name, wanted.name),
            *_allowances(held, wanted, mirror.quantity),
        ],
        facts,
        ["Nothing changes, and nothing is charged, before then."],
    )


def _subscribe(org_id: str, wanted: Plan) -> Effect:
    keeps = standing.promised_until(org_id, wanted, now=clock.now())
    if keeps is not None:
        return Effect(
            [
                Change("Subscription", "none runs", f"{wanted.name}, on trial until {_day(keeps)}"),
                Change("Charged now", "–", money(0, wanted.currency)),
            ],
            {"kind": "subscribe", "from": "", "to": wanted.code, "trial": _day(keeps)},
            ["The days that are left of the trial are kept. Its payment page is closed."],
        )
    return Effect(
        [
            Change("Subscription", "none runs", f"{wanted.name}, from now on"),
            Change("Charged now", "–", money(wanted.amount, wanted.currency)),
        ],
        {"kind": "subscribe", "from": "", "to": wanted.code},
        ["There is no second trial. The card on file is charged."],
    )


def _allowances(held: Plan, wanted: Plan, quantity: int) -> list[Change]:
    before = catalogue.allowances_of(held, quantity=quantity)
    after = catalogue.allowances_of(wanted, quantity=quantity)
    return [
        Change(f"{metric}: included", _units(before.get(metric)), _units(after.get(metric)))
        for metric in sorted({*before, *after})
        if before.get(metric) != after.get(metric)
    ]


def _units(allowance: Any) -> str:
    if allowance is None:
        return "–"
    overage = ", more is charged for" if allowance.overage == "allow" else ""
    return f"{allowance.included:,}{overage}"


def _leading(org_id: str) -> Subscription:
    mirror = standing.leading(org_id)
    if mirror is None:
        raise PlanChangeConflict("No subscription runs")
    return mirror


def _stopped(mirror: Subscription) -> bool:
    return mirror.cancel_at is not None or mirror.status == Status.PAUSED


def _day(instant: Any) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC" if instant else "–"
