"""No card, a card that refuses, a card that wants its owner: 402, and the old plan stays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.models import Operation
from config.contract.clients import clients
from config.contract.ids import new_id
from tests.billing.deals import kept_catalogue, reprice
from tests.billing.kinds import assert_agrees
from tests.billing.owners import (
    Owner,
    live_subscriptions,
    new_owner,
    paid,
    schedules,
    unfinished,
    use_card,
)
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.server import Control
from tests.support.cast import data, error

CHARGING: dict[str, Callable[[Owner], Any]] = {
    "upgrade": lambda owner: owner.upgrade("pro"),
    "subscribe": lambda owner: owner.subscribe("pro"),
}


def ready_to(change: str, owner: Owner) -> None:
    """Bring the organisation to where the change makes sense."""
    if change == "subscribe":
        owner.cancel("now")


def refusal(response: Any) -> Any:
    """Return the details of a 402."""
    assert response.status_code == 402, response.content
    assert "Retry-After" not in response.headers
    told = error(response)
    assert told["code"] == "PAYMENT_REQUIRED"
    return told["details"]


@pytest.fixture
def cardless(transactional_db: None, sandbox: Control) -> Iterator[Owner]:
    """An owner whose customer has no card."""
    sandbox.settings(auto_card=False)
    owner = new_owner()
    yield owner
    sandbox.settings(auto_card=True)


@pytest.mark.parametrize("change", CHARGING)
def test_without_a_card_it_is_payment_method_required(
    cardless: Owner, sandbox: Control, change: str
) -> None:
    ready_to(change, cardless)

    details = refusal(CHARGING[change](cardless))

    assert details == {"reason": "payment_method_required"}
    assert paid(sandbox) == []
    assert_agrees(cardless, sandbox)
    assert unfinished() == 0


@pytest.mark.parametrize("change", CHARGING)
def test_a_card_that_refuses_is_card_declined(owner: Owner, sandbox: Control, change: str) -> None:
    ready_to(change, owner)
    use_card(owner, "pm_card_chargeCustomerFail")

    details = refusal(CHARGING[change](owner))

    assert details == {"reason": "card_declined"}
    assert paid(sandbox) == []
    assert_agrees(owner, sandbox)


@pytest.mark.parametrize("change", CHARGING)
def test_a_card_that_wants_its_owner_names_a_page_for_that(
    owner: Owner, sandbox: Control, change: str
) -> None:
    ready_to(change, owner)
    use_card(owner, "pm_card_authenticationRequired")

    details = refusal(CHARGING[change](owner))

    assert details["reason"] == "authentication_required"
    status, page, _ = sandbox.page(details["url"])
    assert status == 200
    assert "card" in page
    assert paid(sandbox) == []
    assert_agrees(owner, sandbox)


def test_the_page_is_in_no_row_and_in_no_replay(owner: Owner) -> None:
    use_card(owner, "pm_card_authenticationRequired")

    first = refusal(owner.upgrade("pro", key="k"))
    again = owner.upgrade("pro", key="k")

    assert "url" in first
    assert refusal(again) == {"reason": "authentication_required"}
    assert again.headers["Idempotent-Replayed"] == "true"
    kept = Operation.objects.latest("pk")
    assert first["url"] not in f"{kept.request} {kept.result} {kept.keys.get().response}"


def test_without_the_page_the_refusal_stands(owner: Owner, sandbox: Control) -> None:
    use_card(owner, "pm_card_authenticationRequired")
    sandbox.fault("error", path="/v1/billing_portal/*")

    assert refusal(owner.upgrade("pro")) == {"reason": "authentication_required"}


def test_after_the_customer_was_there_the_change_goes_through(
    owner: Owner, sandbox: Control
) -> None:
    use_card(owner, "pm_card_authenticationRequired")
    page = refusal(owner.upgrade("pro"))["url"]

    status, _, _ = sandbox.page(page, action="pay", card="pm_card_visa")

    assert status in (200, 302)
    assert data(owner.upgrade("pro"))["planCode"] == "pro"
    assert paid(sandbox) == [9900]


def test_a_declined_upgrade_leaves_no_invoice_to_be_collected_later(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    sandbox.fault("card_declined")

    refusal(owner.upgrade("business"))
    sandbox.travel(days=20)

    statuses = {one["status"] for one in sandbox.objects("invoice")}
    assert statuses == {"paid"}
    assert paid(sandbox) == [9900]


@pytest.mark.parametrize("card", ["pm_card_chargeCustomerFail", "pm_card_authenticationRequired"])
def test_a_declined_upgrade_puts_the_downgrade_back(
    owner: Owner, sandbox: Control, card: str
) -> None:
    owner.upgrade("pro")
    promised = data(owner.downgrade("starter"))
    use_card(owner, card)

    refusal(owner.upgrade("business"))

    assert owner.entitlements()["scheduledChange"] == promised
    assert len(schedules(sandbox)) == 1
    assert_agrees(owner, sandbox)
    use_card(owner, "pm_card_visa")
    sandbox.travel(days=32)
    owner.converge()
    assert owner.mirror.plan_code == "starter"
    assert paid(sandbox) == [9900, 1900]


def test_a_stale_preview_puts_the_downgrade_back_and_asks_for_no_money(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    promised = data(owner.downgrade("starter"))

    response = owner.upgrade("business", expectedAmount=1)

    assert error(response)["code"] == "PREVIEW_STALE"
    assert owner.entitlements()["scheduledChange"] == promised
    assert paid(sandbox) == [9900]


def test_declined_again_and_again_charges_nothing_and_then_once(
    owner: Owner, sandbox: Control
) -> None:
    sandbox.fault("card_declined", count=3)

    reasons = [refusal(owner.upgrade("pro"))["reason"] for _ in range(3)]

    assert reasons == ["card_declined"] * 3
    assert data(owner.upgrade("pro"))["planCode"] == "pro"
    assert paid(sandbox) == [9900]


def test_a_paused_subscription_is_resumed_once_it_is_paid(
    cardless: Owner, sandbox: Control
) -> None:
    sandbox.travel(days=15)
    cardless.converge()
    assert cardless.mirror.status == "paused"

    without = refusal(cardless.resume())
    use_card(cardless, "pm_card_chargeCustomerFail")
    declined = refusal(cardless.resume())
    after_refusal = cardless.mirror
    [at_stripe] = live_subscriptions(sandbox)
    declined_again = refusal(cardless.resume())
    use_card(cardless, "pm_card_visa")
    resumed = data(cardless.resume())

    assert without == {"reason": "payment_method_required"}
    assert declined["reason"] == declined_again["reason"] == "card_declined"
    # Refused, Stripe billed it all the same: what is written down is that, without an event.
    assert after_refusal.status == at_stripe["status"] == "paused"
    assert after_refusal.billing_cycle_anchor is not None
    assert after_refusal.billing_cycle_anchor.timestamp() == at_stripe["billing_cycle_anchor"]
    assert resumed == {"status": "active", "endsAt": None}
    # One resumption is billed, however often it was tried.
    assert [one["total"] for one in sandbox.objects("invoice") if one["total"]] == [1900]
    assert paid(sandbox) == [1900]
    assert len(live_subscriptions(sandbox)) == 1
    assert data(cardless.use())["used"] == 1


def test_a_paused_subscription_wants_its_owner_on_the_invoices_page(
    cardless: Owner, sandbox: Control
) -> None:
    sandbox.travel(days=15)
    cardless.converge()
    use_card(cardless, "pm_card_authenticationRequired")

    details = refusal(cardless.resume())
    status, _, _ = sandbox.page(details["url"], action="pay", card="pm_card_visa")

    assert details["reason"] == "authentication_required"
    assert status in (200, 302)
    cardless.converge()
    assert cardless.mirror.status == "active"
    assert paid(sandbox) == [1900]


def test_a_paused_subscription_cannot_change_its_plan(cardless: Owner, sandbox: Control) -> None:
    sandbox.travel(days=15)
    cardless.converge()

    answers = [cardless.upgrade("pro"), cardless.downgrade("starter"), cardless.preview("pro")]

    assert {error(one)["code"] for one in answers} == {"PLAN_CHANGE_CONFLICT"}
    assert cardless.use().status_code == 402


def test_a_declined_upgrade_leaves_the_downgrade_as_it_was_agreed(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    """At the price of the day on which it was scheduled, and so many of it."""
    data(owner.upgrade("pro"))
    staff = Dashboard(clients.stripe)
    starter = clients.stripe.find_price(lookup_key="starter")["id"]
    two = {"price": starter, "quantity": 2}
    later = {"items": [two], "duration": {"interval": "month", "interval_count": 1}}
    staff.schedule(owner.mirror.stripe_subscription_id, later)
    owner.converge()
    use_card(owner, "pm_card_chargeCustomerFail")

    with kept_catalogue():
        reprice(tmp_path, {"starter": 2_900})
        declined = refusal(owner.upgrade("business"))["reason"]

    [schedule] = schedules(sandbox)
    [_, following] = schedule["phases"]
    assert declined == "card_declined"
    assert [(one["price"], one["quantity"]) for one in following["items"]] == [(starter, 2)]
    assert owner.mirror.scheduled_plan_code == "starter"
    assert owner.mirror.scheduled_quantity == 2


def test_a_downgrade_whose_price_was_archived_meanwhile_is_put_back_at_todays(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    data(owner.upgrade("pro"))
    data(owner.downgrade("starter"))
    starter = clients.stripe.find_price(lookup_key="starter")["id"]
    use_card(owner, "pm_card_chargeCustomerFail")

    with kept_catalogue():
        reprice(tmp_path, {"starter": 2_900})
        clients.stripe.update_price(
            price_id=starter, active=False, idempotency_key=new_id("archive")
        )
        declined = refusal(owner.upgrade("business"))["reason"]
        today = clients.stripe.find_price(lookup_key="starter")["id"]

    [schedule] = schedules(sandbox)
    [_, following] = schedule["phases"]
    assert declined == "card_declined"
    assert [one["price"] for one in following["items"]] == [today]
