"""The ledger of agreement: Stripe, the mirror, the entitlement, the answers and the bills are one.

A story says after each step what there must be, worked out by hand. `Account.agrees`
asks everybody: first before Stripe's events are delivered, then after.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_django.live_server_helper import LiveServer

from billing.models import InvoiceRef, Organization, Subscription
from billing.tasks import finish_changes
from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.support.cast import data, error
from webhooks.models import WebhookEvent
from webhooks.tasks import sweep

Json = dict[str, Any]
#: What a step leaves, before it is checked as a `Standing`.
Terms = dict[str, Any]
#: Calls that one of each plan includes.
INCLUDED: Mapping[str, int] = {
    "starter": 10_000,
    "pro": 100_000,
    "business": 1_000_000,
    "pro_annual": 100_000,
    "business_annual": 1_000_000,
}
#: Plans that go on past what they include.
OVERAGE = frozenset({"business", "business_annual"})
_OVER = ("canceled", "incomplete_expired")


@contextmanager
def opening(
    server: LiveServer, sandbox: Control, at: datetime, *, checkout: bool = False
) -> Iterator["Account"]:
    """Let somebody sign up at `at`; Stripe delivers its events to `server` until the end."""
    sandbox.deliver_to(f"{server.url}/api/webhooks/stripe")
    sandbox.travel(seconds=int(at.timestamp()) - sandbox.now())
    account = Account(new_owner(checkout=checkout), sandbox)
    account.anchor = Entitlement.objects.get(org_id=account.owner.id).anchor_at
    try:
        yield account
    finally:
        sandbox.deliver_to(None)


def unix(at: datetime) -> int:
    """Return an instant as Stripe writes it."""
    return int(at.timestamp())


def leap_year() -> int:
    """Return the first leap year with a whole ordinary year, yet to begin, before it."""
    year = clock.now().year + 2
    while year % 4:
        year += 1
    return year


@dataclass
class Bill:
    """One invoice: its total in cents, and what is to be seen of it."""

    total: int
    status: str = "paid"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What holds after a step.

    `price` is what Stripe charges for the plan per interval, in cents; `until` when
    the billing period ends; `scheduled` the plan and the instant of a pending change;
    `ends_at` a pending (or past) end; `credit` what Stripe owes the customer.
    `included` of the running quota period is the plan's unless it says otherwise;
    `refused` is the code with which a check says no; `at_stripe` Stripe's own status
    where ours differs.
    """

    plan: str
    status: str
    price: int
    until: datetime
    used: int
    quantity: int = 1
    included: int | None = None
    refused: str | None = None
    at_stripe: str | None = None
    scheduled: tuple[str, datetime] | None = None
    ends_at: datetime | None = None
    trial_ends_at: datetime | None = None
    credit: int = 0

    @property
    def includes(self) -> int:
        """Units included in the running quota period."""
        return self.plan_includes if self.included is None else self.included

    @property
    def plan_includes(self) -> int:
        """Units that so many of the plan include."""
        return INCLUDED[self.plan] * self.quantity


@dataclass
class Account:
    """An organisation, what it was billed so far (oldest first), and its Stripe."""

    owner: Owner
    sandbox: Control
    bills: list[Bill] = field(default_factory=list)
    #: The instant whose time of day all billing has; its year is the story's first.
    anchor: datetime | None = None

    # Time

    def on(self, month: int, day: int, *, year: int = 0) -> datetime:
        """Return the instant of a day, `year` years on, at which billing periods begin."""
        assert self.anchor is not None
        return self.anchor.replace(year=self.anchor.year + year, month=month, day=day)

    def reach(self, at: datetime, **later: float) -> None:
        """Let time pass until `at` (and a `timedelta` later), there and here."""
        instant = int((at + timedelta(**later)).timestamp())
        self.sandbox.travel(seconds=max(0, instant - self.sandbox.now()))

    def hear(self) -> None:
        """Let Stripe's events be delivered, and worked on; none may be left."""
        assert self.sandbox.deliver()["failed"] == 0
        sweep()
        finish_changes()
        states = set(WebhookEvent.objects.values_list("state", flat=True))
        assert states <= {"processed", "ignored"}, states

    # Money

    def is_billed(self, total: int, status: str = "paid") -> None:
        """Expect one more invoice."""
        self.bills.append(Bill(total, status))

    def paid_last(self) -> None:
        """Expect that the newest invoice has been paid meanwhile."""
        self.bills[-1].status = "paid"

    # What everybody says

    def agrees(self, *, by_event: bool = False, **standing: Any) -> None:
        """Fail unless Stripe, mirror, entitlement, answers and bills all say this.

        Before the step's events are delivered and after; with `by_event` only after,
        for what nothing but an event tells.
        """
        expected = Standing(**standing)
        if not by_event:
            self._assert_agreement(expected)
        self.hear()
        self._assert_agreement(expected)
        self._assert_invoices_are_written_down()

    def answers(
        self,
        plan: str,
        status: str,
        *,
        included: int,
        used: int,
        refused: str | None = None,
    ) -> None:
        """Fail unless every door tells the customer this, whatever is at Stripe."""
        now = clock.now()
        period_key = f"{now:%Y-%m}"
        remaining = max(0, included - used)
        self._assert_checked(refused, remaining, period_key)
        shown = self.owner.entitlements()
        assert (shown["planCode"], shown["status"]) == (plan, status)
        assert (shown["includedUnits"], shown["used"], shown["remaining"]) == (
            included,
            used,
            remaining,
        )
        assert shown["periodKey"] == period_key
        start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        assert _instant(shown["periodStart"]) == start
        assert _instant(shown["periodEnd"]) == (start + timedelta(days=32)).replace(day=1)
        explained = data(self.owner.get("/api/quota/explain?metric=api_call"))
        assert explained["allow"] is (refused is None)
        assert (explained["planCode"], explained["status"]) == (plan, status)
        assert (explained["used"], explained["remaining"]) == (used, remaining)
        self._assert_statement(period_key, included, used, remaining)

    def _assert_checked(self, refused: str | None, remaining: int, period_key: str) -> None:
        response = self.owner.check()
        if refused is None:
            assert data(response) == {
                "allow": True,
                "remaining": remaining,
                "periodKey": period_key,
            }
        else:
            assert error(response)["code"] == refused

    def _assert_statement(self, period_key: str, included: int, used: int, remaining: int) -> None:
        response = self.owner.get(f"/api/statements?periodKey={period_key}")
        calls = data(response)["metrics"]["api_call"]
        assert calls["included"] + calls["adjusted"] == included
        assert (calls["used"], calls["remaining"]) == (used, remaining)
        assert calls["overage"] == max(0, used - included)
        assert sum(day["used"] for day in calls["days"]) == calls["counted"] == used

    # Stripe

    @property
    def stripe_subscription(self) -> Json:
        """The subscription that leads, as Stripe has it."""
        found: Json = clients.stripe.retrieve_subscription(
            subscription_id=self.mirror.stripe_subscription_id
        )
        return found

    @property
    def mirror(self) -> Subscription:
        """What is written down of it."""
        leading = Subscription.objects.filter(org_id=self.owner.id).leading(now=clock.now())
        assert leading is not None
        return leading

    def _assert_agreement(self, expected: Standing) -> None:
        there = self.stripe_subscription
        self._assert_stripe_has(there, expected)
        self._assert_mirror_has(there, expected)
        self._assert_entitlement_has(there, expected)
        self.answers(
            expected.plan,
            expected.status,
            included=expected.includes,
            used=expected.used,
            refused=expected.refused,
        )
        shown = self.owner.entitlements()
        assert _maybe(shown["trialEndsAt"]) == expected.trial_ends_at
        assert _change(shown["scheduledChange"]) == expected.scheduled
        self._assert_invoiced()

    def _assert_stripe_has(self, there: Json, expected: Standing) -> None:
        item = self._plan_item(there)
        status = expected.at_stripe or expected.status
        assert (there["status"], item["quantity"]) == (status, expected.quantity)
        assert item["price"]["unit_amount"] == expected.price
        assert _unix(item["current_period_end"]) == expected.until
        end = there["ended_at"] if expected.status in _OVER else there["cancel_at"]
        assert _unix(end) == expected.ends_at
        if expected.status == "trialing":
            assert _unix(there["trial_end"]) == expected.trial_ends_at
        assert self._scheduled_at_stripe(there) == expected.scheduled
        customer = clients.stripe.retrieve_customer(customer_id=there["customer"])
        if not customer.get("deleted"):
            assert -customer["balance"] == expected.credit

    def _plan_item(self, subscription: Json) -> Json:
        item: Json
        [item] = [
            one
            for one in subscription["items"]["data"]
            if _plan_of(one["price"]) and one["price"]["recurring"]["usage_type"] == "licensed"
        ]
        return item

    def _scheduled_at_stripe(self, there: Json) -> tuple[str, datetime] | None:
        if there["schedule"] is None:
            return None
        schedule = clients.stripe.retrieve_schedule(schedule_id=there["schedule"])
        assert schedule["status"] == "active"
        following = [
            phase
            for phase in schedule["phases"]
            if phase["start_date"] > schedule["current_phase"]["start_date"]
        ]
        if not following:
            return None
        [phase] = following
        price = clients.stripe.retrieve_price(price_id=phase["items"][0]["price"])
        start = _unix(phase["start_date"])
        assert start is not None
        return _plan_of(price), start

    def _assert_mirror_has(self, there: Json, expected: Standing) -> None:
        mirror = self.mirror
        item = self._plan_item(there)
        assert (mirror.plan_code, mirror.status) == (expected.plan, expected.status)
        assert _plan_of(item["price"]) == expected.plan
        assert mirror.quantity == expected.quantity
        assert (mirror.stripe_item_id, mirror.stripe_price_id) == (item["id"], item["price"]["id"])
        assert mirror.stripe_schedule_id == (there["schedule"] or "")
        assert mirror.current_period_start == _unix(item["current_period_start"])
        assert mirror.current_period_end == expected.until
        assert mirror.billing_cycle_anchor == _unix(there["billing_cycle_anchor"])
        assert mirror.trial_ends_at == _unix(there["trial_end"])
        assert mirror.cancel_at == _unix(there["cancel_at"])
        assert mirror.ended_at == _unix(there["ended_at"])
        pending = (mirror.scheduled_plan_code, mirror.scheduled_at)
        assert pending == (expected.scheduled or ("", None))

    def _assert_entitlement_has(self, there: Json, expected: Standing) -> None:
        entitlement = Entitlement.objects.get(org_id=self.owner.id)
        assert (entitlement.plan_code, entitlement.status) == (expected.plan, expected.status)
        assert entitlement.allowances["api_call"] == {
            "included": expected.plan_includes,
            "overage": "allow" if expected.plan in OVERAGE else "block",
        }
        assert entitlement.anchor_at == _unix(there["billing_cycle_anchor"])
        assert entitlement.ends_at == _unix(there["cancel_at"])
        pending = (entitlement.scheduled_plan_code, entitlement.scheduled_at)
        assert pending == (expected.scheduled or ("", None))

    def _assert_invoiced(self) -> None:
        listed = data(self.owner.get("/api/invoices?limit=100"))
        assert listed["nextCursor"] is None
        there = self._invoices()
        totals = [(one["total"], one["status"]) for one in there]
        assert totals == [(bill.total, bill.status) for bill in self.bills], totals
        assert [
            (one["id"], one["amount"], one["status"], _instant(one["created"]), one["url"])
            for one in reversed(listed["invoices"])
        ] == [
            (
                one["id"],
                one["total"],
                one["status"],
                _unix(one["created"]),
                one["hosted_invoice_url"],
            )
            for one in there
        ]

    def _assert_invoices_are_written_down(self) -> None:
        # A draft is nobody's business yet: it may still change, or be deleted.
        there = [one for one in self._invoices() if one["status"] != "draft"]
        refs = InvoiceRef.objects.filter(org_id=self.owner.id)
        assert {(one.stripe_invoice_id, one.total, one.amount_due, one.status) for one in refs} == {
            (one["id"], one["total"], one["amount_due"], one["status"]) for one in there
        }
        month = f"{clock.now():%Y-%m}"
        statement = data(self.owner.get(f"/api/statements?periodKey={month}"))
        assert statement["invoiceIds"] == [
            one["id"] for one in there if f"{_unix(one['created']):%Y-%m}" == month
        ]

    def _invoices(self) -> list[Json]:
        customer = Organization.objects.get(org_id=self.owner.id).stripe_customer_id
        page = clients.stripe.list_invoices(customer_id=customer, limit=100)
        assert page["has_more"] is False
        return list(reversed(page["data"]))


def _plan_of(price: Json) -> str:
    code: str = price["metadata"].get("plan_code", "")
    return code


def _unix(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)


def _change(change: Json | None) -> tuple[str, datetime] | None:
    return (change["newPlanCode"], _instant(change["effectiveAt"])) if change else None
