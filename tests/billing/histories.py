"""Random histories of one organisation: steps, and what must hold whenever nothing is going on."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from hypothesis import strategies as st

from billing.models import Plan, Subscription
from billing.tasks import finish_changes
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement, UsageCounter
from tests.billing.owners import (
    TRY_AGAIN,
    Owner,
    live_subscriptions,
    new_owner,
    unfinished,
    use_card,
)
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.server import Control
from tests.support.cast import data

AMOUNTS = {"starter": 1900, "pro": 9900, "business": 49900}
RUNNING = ("trialing", "active", "past_due")
FAULTS = (
    "cut_before",
    "cut_after",
    "error",
    "stored_error",
    "stored_error_after",
    "rate_limited",
    "conflict",
)
CARDS = ("pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_authenticationRequired")

plans = st.sampled_from(sorted(AMOUNTS))
changes = st.one_of(
    st.tuples(st.just("upgrade"), plans, st.booleans()),
    st.tuples(st.just("downgrade"), plans),
    st.tuples(st.just("keep_plan")),
    st.tuples(st.just("cancel"), st.sampled_from(["period_end", "now"])),
    st.tuples(st.just("resume")),
    st.tuples(st.just("subscribe"), plans),
)
circumstances = st.one_of(
    st.tuples(st.just("travel"), st.sampled_from([1, 9, 16, 33])),
    st.tuples(st.just("decline"), st.integers(1, 2)),
    st.tuples(st.just("card"), st.sampled_from(CARDS)),
    st.tuples(st.just("use"), st.integers(1, 9000)),
    st.tuples(st.just("agree"), st.sampled_from([5, 33]), st.sampled_from([0, 19])),
)
#: The fault that Stripe has ready for a change, or None.
faults = st.sampled_from([None, None, *FAULTS])
#: A change and its fault; what happens besides; and, as chance alone seldom brings
#: them, subscribing after the end and taking a downgrade back.
steps = st.one_of(
    st.tuples(changes, faults).map(lambda step: [step]),
    st.tuples(circumstances, st.none()).map(lambda step: [step]),
    st.tuples(plans, faults).map(
        lambda drawn: [(("cancel", "now"), None), (("subscribe", drawn[0]), drawn[1])]
    ),
    faults.map(
        lambda fault: [
            (("upgrade", "business", False), None),
            (("downgrade", "starter"), None),
            (("keep_plan",), fault),
        ]
    ),
)
histories = st.tuples(
    st.booleans(),
    st.lists(steps, min_size=4, max_size=10).map(lambda drawn: [*chain.from_iterable(drawn)]),
)


@dataclass
class Seen:
    """Stripe as it was before a step."""

    plan: str
    status: str
    invoices: set[str]
    subscription: dict[str, Any]
    #: The plan that a schedule was going to change to: a refused upgrade makes a new one of it.
    scheduled: str


@dataclass
class World:
    """One organisation, its Stripe, and what happened to both."""

    sandbox: Control
    #: How often each change ended how, over all histories.
    outcomes: Counter[tuple[str, int, str]]
    owner: Owner = field(init=False)

    @classmethod
    def begin(
        cls, sandbox: Control, outcomes: Counter[tuple[str, int, str]], *, with_card: bool
    ) -> "World":
        """Empty Stripe, go back to the present, and sign up."""
        sandbox.reset()
        clock.set_offset(0)
        sandbox.settings(auto_card=with_card)
        world = cls(sandbox, outcomes)
        world.owner = new_owner()
        world.assert_at_rest()
        return world

    def take(self, step: tuple[Any, ...], fault: str | None) -> None:
        """Do one step and see that it did what it said."""
        name, *arguments = step
        if name in ("travel", "decline", "card", "use", "agree"):
            getattr(self, f"_{name}")(*arguments)
        else:
            before = self._see()
            expected = self._possible(name, arguments, before)
            preview = self._previewed(name, arguments)
            if fault:
                self.sandbox.fault(fault)
            statuses = self._ask_until_decided(lambda: self._change(name, arguments, preview))
            self._forget(fault)
            self.outcomes[name, statuses[-1], "faulted" if len(statuses) > 1 else ""] += 1
            self._assert_did_what_it_said(name, arguments, statuses, before, preview)
            if expected:
                assert statuses[-1] == 200, (step, statuses)
        self.come_to_rest()
        self.assert_at_rest()

    def come_to_rest(self) -> None:
        """Let the completer and the webhooks do their work."""
        finish_changes()
        self.owner.converge()

    # Steps

    def _change(self, name: str, arguments: list[Any], preview: dict[str, Any] | None) -> Any:
        if name == "upgrade":
            return self.owner.upgrade(arguments[0], **self._as_previewed(preview))
        return getattr(self.owner, name)(*arguments)

    def _previewed(self, name: str, arguments: list[Any]) -> dict[str, Any] | None:
        if name != "upgrade" or not arguments[1]:
            return None
        response = self.owner.preview(arguments[0])
        found: dict[str, Any] | None = data(response) if response.status_code == 200 else None
        return found

    @staticmethod
    def _as_previewed(preview: dict[str, Any] | None) -> dict[str, Any]:
        if preview is None:
            return {}
        return {"prorationDate": preview["prorationDate"], "expectedAmount": preview["amount"]}

    def _ask_until_decided(self, ask: Callable[[], Any]) -> list[int]:
        statuses: list[int] = []
        while not statuses or (statuses[-1] in TRY_AGAIN and len(statuses) < 5):
            statuses.append(ask().status_code)
        assert set(statuses[:-1]) <= set(TRY_AGAIN), statuses
        assert statuses[-1] in (200, 402, 409), statuses
        return statuses

    def _forget(self, fault: str | None) -> None:
        """Take back a fault that the step did not meet; declines stay on order."""
        orders = self.sandbox.state()["faults"]
        if any(one["kind"] == fault for one in orders):
            self.sandbox.clear_faults()
            for one in orders:
                if one["kind"] != fault:
                    self.sandbox.fault(one["kind"], count=one["remaining"])

    def _travel(self, days: int) -> None:
        self.sandbox.travel(days=days)

    def _decline(self, count: int) -> None:
        self.sandbox.fault("card_declined", count=count)

    def _card(self, name: str) -> None:
        use_card(self.owner, name)

    def _use(self, units: int) -> None:
        assert self.owner.use(units).status_code in (200, 402, 429)

    def _agree(self, percent_off: int, tax: int) -> None:
        """Let staff at Stripe put a discount and a tax on the subscription."""
        there, staff = self._leading(), Dashboard(clients.stripe)
        if there["status"] not in RUNNING:
            return
        coupon = staff.coupon(percent_off=percent_off, duration="forever")
        rates = [staff.tax_rate(tax)] if tax else []
        staff.edit(there["id"], discounts=[{"coupon": coupon}], default_tax_rates=rates)

    # What must hold

    def _possible(self, name: str, arguments: list[Any], before: Seen) -> bool:
        """Tell whether there is no reason to refuse the change."""
        declines = any(one["kind"] == "card_declined" for one in self.sandbox.state()["faults"])
        able = self._card_works() and not declines
        running = before.status in RUNNING
        match name:
            case "upgrade":
                dearer = AMOUNTS[arguments[0]] > AMOUNTS[before.plan]
                return running and dearer and able
            case "downgrade":
                cheaper = AMOUNTS[arguments[0]] < AMOUNTS[before.plan]
                return running and cheaper and before.subscription["cancel_at"] is None
            case "subscribe":
                return not live_subscriptions(self.sandbox) and able
            case "cancel" | "resume":
                return running
        return True

    def _card_works(self) -> bool:
        [customer] = self.sandbox.objects("customer")
        default = customer["invoice_settings"]["default_payment_method"]
        subscription = self._leading()["default_payment_method"]
        return all(
            id_ is None or self.sandbox.show(id_)["card"]["last4"] == "4242"
            for id_ in (default, subscription)
        ) and bool(default)

    def _assert_did_what_it_said(
        self,
        name: str,
        arguments: list[Any],
        statuses: list[int],
        before: Seen,
        preview: dict[str, Any] | None,
    ) -> None:
        after = self._see()
        made = [one for one in self.sandbox.objects("invoice") if one["id"] not in before.invoices]
        charged = [one["amount_paid"] for one in made if one["amount_paid"]]
        done = statuses[-1] == 200
        if name == "upgrade":
            moved = done and before.plan != after.plan
            assert after.plan == (arguments[0] if done else before.plan)
            assert len(made) == (1 if moved else 0)
            if moved and preview is not None:
                assert sum(charged) == preview["amount"] == made[0]["amount_due"]
        elif name == "subscribe":
            assert len(made) == (1 if done else 0)
        elif name == "resume":
            assert len(made) <= (1 if before.status == "paused" else 0)
        else:
            assert made == []
        if before.subscription["id"] == after.subscription["id"]:
            for agreed in ("discounts", "default_tax_rates", "metadata", "collection_method"):
                assert after.subscription[agreed] == before.subscription[agreed], agreed
        if not done and name != "resume":
            # Refused: the same subscription, the same schedule, nothing to be collected.
            assert (after.plan, after.status) == (before.plan, before.status)
            assert after.scheduled == before.scheduled

    def assert_at_rest(self) -> None:
        """Fail unless here and there agree, and nothing is there twice or left over."""
        assert unfinished() == 0
        live = live_subscriptions(self.sandbox)
        assert len(live) <= 1
        there, entitlement = self._leading(), Entitlement.objects.get(org_id=self.owner.id)
        plan = plan_of(there)
        scheduled = self._scheduled(there)
        assert (entitlement.status, entitlement.plan_code) == (there["status"], plan)
        assert entitlement.scheduled_plan_code == scheduled
        mirror = Subscription.objects.get(stripe_subscription_id=there["id"])
        assert (mirror.status, mirror.plan_code) == (there["status"], plan)
        assert mirror.scheduled_plan_code == scheduled
        shown = self.owner.entitlements()
        assert (shown["status"], shown["planCode"]) == (there["status"], plan)
        self._assert_counters_give_what_the_plan_gives(plan)

    def _assert_counters_give_what_the_plan_gives(self, plan: str) -> None:
        now = clock.now()
        given = {one.metric: one for one in Plan.objects.get(code=plan).metrics.all()}
        for counter in UsageCounter.objects.filter(
            org_id=self.owner.id, period_start__lte=now, period_end__gt=now
        ):
            assert counter.included >= given[counter.metric].included_units

    def _see(self) -> Seen:
        there = self._leading()
        invoices = {one["id"] for one in self.sandbox.objects("invoice")}
        return Seen(plan_of(there), there["status"], invoices, there, self._scheduled(there))

    def _leading(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.sandbox.objects("subscription")
        return (live_subscriptions(self.sandbox) or found)[-1]

    def _scheduled(self, subscription: dict[str, Any]) -> str:
        """Return the plan that a schedule is going to change to."""
        if subscription["schedule"] is None:
            return ""
        schedule = self.sandbox.show(subscription["schedule"])
        ahead = [
            phase
            for phase in schedule["phases"]
            if phase["start_date"] > schedule["current_phase"]["start_date"]
        ]
        if not ahead:
            return ""
        lookup: str = self.sandbox.show(ahead[0]["items"][0]["price"])["lookup_key"]
        return lookup if lookup != plan_of(subscription) else ""


def plan_of(subscription: dict[str, Any]) -> str:
    """Return the plan that a subscription at Stripe is on."""
    code: str = subscription["items"]["data"][0]["price"]["lookup_key"]
    return code
