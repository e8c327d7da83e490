"""One organisation's life, over the public API alone, with Stripe's webhooks at the real intake."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from billing.tasks import finish_changes
from config.contract import clock
from config.contract.ids import new_id
from tests.billing.catalogues import PRO_ANNUAL
from tests.sandbox.server import Control
from webhooks.tasks import sweep


class Customer:
    """Whoever holds the owner's token, and nothing else."""

    def __init__(self) -> None:
        self._client, self._headers = Client(), {}  # type: ignore[var-annotated]
        self.id = ""

    def sign_up(self) -> Any:
        """Sign up and activate the owner's code."""
        answer = self.ask("POST", "signup", {"orgName": "Acme", "email": "owner@acme.example"})
        code = {"activationCode": answer["activationCode"]}
        tokens = self.ask("POST", "tokens/activate", code)
        self._headers = {"Authorization": f"Bearer {tokens['accessToken']}"}
        self.id = tokens["orgId"]
        return answer

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, status: int = 200
    ) -> Any:
        """Call a route; return its data, or the code of its refusal."""
        own = {"orgId": self.id} if self.id and method == "POST" else {}
        response = self._client.generic(
            method,
            f"/api/{path}",
            json.dumps({**own, **(body or {})}) if method == "POST" else "",
            content_type="application/json",
            headers=self._headers,
        )
        assert response.status_code == status, response.content
        answer = json.loads(response.content)
        return answer["data"] if answer["ok"] else answer["error"]["code"]

    def use(self, units: int, *, status: int = 200) -> Any:
        """Report use of `api_call` now."""
        event = {
            "metric": "api_call",
            "value": units,
            "occurredAt": clock.now().isoformat(),
            "request_id": new_id("req"),
        }
        return self.ask("POST", "v1/usage", event, status=status)

    @property
    def stands(self) -> tuple[str, str, int, int]:
        """Plan, status, used and remaining, as the organisation sees them."""
        seen = self.ask("GET", "me/entitlements")
        return seen["planCode"], seen["status"], seen["used"], seen["remaining"]


@pytest.fixture
def stripe(live_server: LiveServer, sandbox: Control) -> Iterator[Control]:
    """A Stripe that delivers its webhooks to a server of ours, over HTTP."""
    sandbox.deliver_to(f"{live_server.url}/api/webhooks/stripe")
    # Quota periods are calendar months: the day decides what the test sees.
    tenth = datetime(clock.now().year + 1, 1, 10, 12, tzinfo=UTC)
    sandbox.travel(seconds=int(tenth.timestamp()) - sandbox.now())
    yield sandbox
    sandbox.deliver_to(None)


def pass_time(stripe: Control, days: int) -> None:
    """Let days pass there and here, and let the webhooks and the worker do what is due."""
    stripe.travel(days=days)
    let_webhooks_come(stripe)


def let_webhooks_come(stripe: Control) -> None:
    """Deliver what Stripe has to say, and work on it."""
    sent = stripe.deliver()
    assert sent["failed"] == 0
    sweep()
    finish_changes()


def test_from_sign_up_to_subscribing_again(stripe: Control) -> None:
    acme = Customer()

    # Sign-up and trial.
    signed_up = acme.sign_up()
    let_webhooks_come(stripe)
    assert signed_up["planCode"] == "starter"
    assert acme.stands == ("starter", "trialing", 0, 10_000)
    assert acme.use(4_000)["remaining"] == 6_000

    # What an upgrade would cost is what it costs; the use is kept.
    seen = acme.ask("POST", "plans/preview", {"planCode": "pro"})
    wanted = {"newPlanCode": "pro", "prorationDate": seen["prorationDate"]}
    upgraded = acme.ask("POST", "plans/upgrade", {**wanted, "expectedAmount": seen["amount"]})
    let_webhooks_come(stripe)
    assert (seen["amount"], upgraded["remaining"]) == (9_900, 96_000)
    assert acme.stands == ("pro", "active", 4_000, 96_000)
    assert acme.use(50_000)["used"] == 54_000

    # A downgrade takes effect with the next billing period, not before.
    scheduled = acme.ask("POST", "plans/downgrade", {"newPlanCode": "starter"})
    let_webhooks_come(stripe)
    assert acme.ask("GET", "me/entitlements")["scheduledChange"] == scheduled
    assert acme.stands == ("pro", "active", 54_000, 46_000)

    # Three months: each is billed, each begins with the whole quota. A lower limit
    # begins with the first quota period after the change, so February keeps pro's.
    for included in (100_000, 10_000, 10_000):
        pass_time(stripe, 32)
        assert acme.stands == ("starter", "active", 0, included)
        assert acme.use(1_000)["remaining"] == included - 1_000
    assert acme.ask("GET", "me/entitlements")["scheduledChange"] is None
    assert acme.use(9_999, status=429) == "RATE_LIMITED"

    # Every invoice is listed, newest first.
    listed = acme.ask("GET", "invoices?limit=100")
    assert [one["amount"] for one in listed["invoices"]] == [1_900, 1_900, 1_900, 9_900, 0]
    assert {one["status"] for one in listed["invoices"]} == {"paid"}
    assert all(one["url"] for one in listed["invoices"])
    assert listed["nextCursor"] is None

    # Cancelled: good until the period ends, and not a day longer.
    cancelled = acme.ask("POST", "plans/cancel", {"at": "period_end"})
    let_webhooks_come(stripe)
    assert cancelled["status"] == "active"
    assert acme.stands[:2] == ("starter", "active")
    pass_time(stripe, 31)
    assert acme.stands[1] == "canceled"
    assert acme.use(1, status=402) == "PAYMENT_REQUIRED"
    assert acme.ask("POST", "quota/check", {"metric": "api_call"}, status=402)

    # Subscribed again: paid at once, without a second trial.
    again = acme.ask("POST", "plans/subscribe", {"planCode": "pro"})
    let_webhooks_come(stripe)
    assert (again["planCode"], again["status"]) == ("pro", "active")
    assert acme.use(1)["used"] == 1
    newest = acme.ask("GET", "invoices?limit=1")["invoices"][0]
    assert (newest["amount"], newest["status"]) == (9_900, "paid")
    alive = [one for one in stripe.objects("subscription") if one["status"] != "canceled"]
    assert len(alive) == 1


@pytest.mark.usefixtures("annual_plans")
def test_two_years_on_plans_that_are_paid_by_the_year(stripe: Control) -> None:
    acme = Customer()
    acme.sign_up()
    let_webhooks_come(stripe)

    # The year is paid as previewed; its units are there anew each month.
    seen = acme.ask("POST", "plans/preview", {"planCode": "pro_annual"})
    wanted = {"newPlanCode": "pro_annual", "prorationDate": seen["prorationDate"]}
    acme.ask("POST", "plans/upgrade", {**wanted, "expectedAmount": seen["amount"]})
    let_webhooks_come(stripe)
    assert seen["amount"] == PRO_ANNUAL
    for _ in range(3):
        assert acme.stands == ("pro_annual", "active", 0, 100_000)
        acme.use(60_000)
        pass_time(stripe, 31)

    # Monthly pro costs more a month: an upgrade, with the unused year given back.
    assert acme.ask("POST", "plans/downgrade", {"newPlanCode": "pro"}, status=409)
    seen = acme.ask("POST", "plans/preview", {"planCode": "pro"})
    acme.ask("POST", "plans/upgrade", {"newPlanCode": "pro"})
    let_webhooks_come(stripe)
    assert acme.stands[:2] == ("pro", "active")
    assert seen["amount"] == 0
    assert sum(line["amount"] for line in seen["items"]) < -60_000

    # And back to the year at the period's end; then to a small plan after that year.
    scheduled = acme.ask("POST", "plans/downgrade", {"newPlanCode": "pro_annual"})
    let_webhooks_come(stripe)
    assert acme.ask("GET", "me/entitlements")["scheduledChange"] == scheduled
    pass_time(stripe, 32)
    assert acme.stands == ("pro_annual", "active", 0, 100_000)
    yearly = acme.ask("GET", "invoices?limit=1")["invoices"][0]
    assert yearly["amount"] == PRO_ANNUAL
    ends = acme.ask("POST", "plans/downgrade", {"newPlanCode": "starter"})["effectiveAt"]
    let_webhooks_come(stripe)
    assert (datetime.fromisoformat(ends) - clock.now()).days > 330
    pass_time(stripe, 367)
    assert acme.stands[:2] == ("starter", "active")

    # Cancelled, and subscribed to again by the year.
    acme.ask("POST", "plans/cancel", {"at": "now"})
    acme.ask("POST", "plans/subscribe", {"planCode": "business_annual"})
    let_webhooks_come(stripe)
    assert acme.stands[:2] == ("business_annual", "active")


def test_webhooks_that_come_late_and_in_any_order_change_nothing(stripe: Control) -> None:
    acme = Customer()
    acme.sign_up()
    acme.ask("POST", "plans/upgrade", {"newPlanCode": "pro"})
    acme.ask("POST", "plans/downgrade", {"newPlanCode": "starter"})
    acme.ask("POST", "plans/cancel", {"at": "now"})
    acme.ask("POST", "plans/subscribe", {"planCode": "business"})
    before = acme.stands
    stripe.fault("webhook_reorder")
    stripe.fault("webhook_duplicate", count=-1)

    let_webhooks_come(stripe)

    assert acme.stands == before == ("business", "active", 0, 1_000_000)


def test_what_only_webhooks_tell_is_learnt_from_them(stripe: Control) -> None:
    acme = Customer()
    acme.sign_up()
    acme.ask("POST", "plans/upgrade", {"newPlanCode": "pro"})
    stripe.fault("card_declined", count=-1)

    pass_time(stripe, 32)
    past_due = acme.stands[1]
    allowed = acme.use(1)
    pass_time(stripe, 16)

    assert past_due == "past_due"
    assert allowed["used"] == 1
    assert acme.stands[1] == "canceled"
    assert acme.use(1, status=402) == "PAYMENT_REQUIRED"
