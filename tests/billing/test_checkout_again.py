"""A sign-up by Checkout that is not completed has a way on, whatever is asked of it."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing.changes.preview import preview
from billing.models import IdempotencyKey, Operation, Subscription
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.clients import clients
from quotas.models import Entitlement
from tests.billing.owners import Owner, live_subscriptions, new_owner, paid, use_card
from tests.sandbox.server import Control
from tests.support.cast import data, error

pytestmark = pytest.mark.django_db(transaction=True)

CONFLICT = (409, "PLAN_CHANGE_CONFLICT")


@pytest.fixture
def waiting(sandbox: Control) -> Owner:
    """An owner who signed up by Checkout and has not completed the page."""
    return new_owner(checkout=True)


def pages(sandbox: Control) -> list[Any]:
    """Return the pages that were made, oldest first."""
    return sandbox.objects("checkout.session")


def open_pages(sandbox: Control) -> list[Any]:
    return [page for page in pages(sandbox) if page["status"] == "open"]


def complete(sandbox: Control, url: str) -> None:
    """Pay on the page, as the owner would; its webhook does not arrive."""
    status, _, _ = sandbox.page(url, action="pay", card="pm_card_visa")
    assert status == 302


def promised(owner: Owner) -> Any:
    return Entitlement.objects.get(org_id=owner.id).trial_ends_at


def refused(response: Any) -> tuple[int, str]:
    return response.status_code, error(response)["code"]


def test_a_fresh_page_keeps_the_trials_end_and_closes_the_old_one(
    waiting: Owner, sandbox: Control
) -> None:
    ends_at = promised(waiting)
    sandbox.travel(days=3)

    response = waiting.checkout()

    [old, new] = pages(sandbox)
    assert data(response) == {"checkoutUrl": new["url"]}
    assert response["Cache-Control"] == "no-store"
    assert (old["status"], new["status"]) == ("expired", "open")
    complete(sandbox, new["url"])
    [subscription] = live_subscriptions(sandbox)
    assert subscription["trial_end"] == int(ends_at.timestamp())
    assert subscription["status"] == "trialing"
    assert paid(sandbox) == []


def test_less_than_two_days_before_its_end_no_day_that_was_promised_is_lost(
    waiting: Owner, sandbox: Control
) -> None:
    ends_at = promised(waiting)
    sandbox.travel(days=12, hours=18)

    url = data(waiting.checkout())["checkoutUrl"]

    complete(sandbox, url)
    [subscription] = live_subscriptions(sandbox)
    later = subscription["trial_end"] - int(ends_at.timestamp())
    assert 0 <= later <= timedelta(days=1).total_seconds()
    assert paid(sandbox) == []


def test_after_the_trial_the_page_is_paid_at_once(waiting: Owner, sandbox: Control) -> None:
    sandbox.travel(days=15)

    url = data(waiting.checkout())["checkoutUrl"]

    complete(sandbox, url)
    assert paid(sandbox) == [1900]


def test_a_repeat_with_its_key_gives_the_same_page_and_stores_no_url(
    waiting: Owner, sandbox: Control
) -> None:
    first = waiting.checkout(key="k1")

    again = waiting.checkout(key="k1")

    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert len(pages(sandbox)) == 2
    stored = [*Operation.objects.values(), *IdempotencyKey.objects.values()]
    assert data(first)["checkoutUrl"] not in json.dumps(stored, default=str)


def test_a_repeat_leaves_the_page_out_once_it_is_closed(waiting: Owner, sandbox: Control) -> None:
    url = data(waiting.checkout(key="k1"))["checkoutUrl"]
    complete(sandbox, url)

    assert data(waiting.checkout(key="k1")) == {}


@pytest.mark.parametrize(
    "kind", ["rate_limited", "conflict", "error", "cut_before", "cut_after", "stored_error_after"]
)
def test_a_fault_at_the_page_is_mended_by_the_retry_and_one_page_is_open(
    waiting: Owner, sandbox: Control, kind: str
) -> None:
    sandbox.fault(kind, path="/v1/checkout/sessions", method="POST")
    failed = waiting.checkout(key="k1")

    url = data(waiting.checkout(key="k1"))["checkoutUrl"]

    assert failed.status_code in (502, 503)
    assert [page["url"] for page in open_pages(sandbox)] == [url]


def test_a_page_that_was_completed_is_not_made_again(waiting: Owner, sandbox: Control) -> None:
    complete(sandbox, pages(sandbox)[0]["url"])

    response = waiting.checkout()

    assert refused(response) == CONFLICT
    assert len(pages(sandbox)) == 1
    # Its webhook never came: now it is known all the same.
    assert Subscription.objects.get().status == "trialing"


def test_only_a_sign_up_by_checkout_gets_a_page(sandbox: Control) -> None:
    owner = new_owner()

    response = owner.checkout()

    assert refused(response) == CONFLICT
    assert pages(sandbox) == []


def test_what_is_sold_to_the_customer_by_others_is_left_open(
    waiting: Owner, sandbox: Control
) -> None:
    [page] = pages(sandbox)
    price = clients.stripe.find_price(lookup_key="pro")
    assert price is not None
    other = clients.stripe.create_checkout_session(
        customer_id=waiting.customer_id,
        price_id=price["id"],
        org_id="org_of_another_product",
        success_url="https://shop.example/",
        cancel_url="https://shop.example/",
        idempotency_key="other",
    )

    data(waiting.checkout())

    assert sandbox.show(page["id"])["status"] == "expired"
    assert sandbox.show(other["id"])["status"] == "open"


@pytest.mark.parametrize("verb", ["preview", "upgrade", "downgrade", "resume"])
def test_what_needs_a_subscription_says_the_way_on(
    waiting: Owner, sandbox: Control, verb: str
) -> None:
    asked = {"preview": ["pro"], "upgrade": ["pro"], "downgrade": ["starter"], "resume": []}

    response = getattr(waiting, verb)(*asked[verb])

    assert refused(response) == CONFLICT
    assert error(response)["details"] == {"reason": "checkout_not_completed"}
    assert "POST /api/plans/checkout" in error(response)["message"]
    assert [page["status"] for page in pages(sandbox)] == ["open"]


def test_an_upgrade_right_after_the_page_does_not_wait_for_its_webhook(
    waiting: Owner, sandbox: Control
) -> None:
    complete(sandbox, pages(sandbox)[0]["url"])

    upgraded = data(waiting.upgrade("pro"))

    assert upgraded["planCode"] == "pro"
    assert paid(sandbox) == [9900]


def test_cancelling_at_the_end_closes_the_page_and_the_trial_runs_out(
    waiting: Owner, sandbox: Control
) -> None:
    ends_at = promised(waiting)

    answer = data(waiting.cancel("period_end"))

    assert answer == {"status": "trialing", "endsAt": rfc3339(ends_at)}
    assert open_pages(sandbox) == []
    assert waiting.check().status_code == 200


def test_cancelling_now_ends_the_trial_and_closes_the_page(
    waiting: Owner, sandbox: Control
) -> None:
    answer = data(waiting.cancel("now"))

    assert answer["status"] == "canceled"
    assert open_pages(sandbox) == []
    assert waiting.check().status_code == 402
    assert refused(waiting.cancel("now")) == CONFLICT


def test_cancelling_after_the_page_was_completed_cancels_what_it_made(
    waiting: Owner, sandbox: Control
) -> None:
    complete(sandbox, pages(sandbox)[0]["url"])

    answer = data(waiting.cancel("now"))

    assert answer["status"] == "canceled"
    assert live_subscriptions(sandbox) == []


def test_subscribing_during_the_trial_keeps_the_days_that_were_promised(
    waiting: Owner, sandbox: Control
) -> None:
    ends_at = promised(waiting)
    sandbox.travel(days=5)

    answer = data(waiting.subscribe("starter"))

    assert (answer["status"], answer["planCode"]) == ("trialing", "starter")
    [subscription] = live_subscriptions(sandbox)
    assert subscription["trial_end"] == int(ends_at.timestamp())
    assert promised(waiting) == ends_at
    assert open_pages(sandbox) == []
    assert paid(sandbox) == []


def test_subscribing_to_a_dearer_plan_ends_the_trial_as_an_upgrade_does(
    waiting: Owner, sandbox: Control
) -> None:
    answer = data(waiting.subscribe("pro"))

    assert (answer["status"], answer["planCode"]) == ("active", "pro")
    assert paid(sandbox) == [9900]


def test_after_the_trial_and_after_cancelling_there_is_no_second_one(sandbox: Control) -> None:
    owner, leaver = new_owner(checkout=True), new_owner(checkout=True)
    data(leaver.cancel("now"))

    assert data(leaver.subscribe("starter"))["status"] == "active"
    sandbox.travel(days=15)
    assert data(owner.subscribe("starter"))["status"] == "active"


def test_an_upgrade_leaves_a_pending_cancellation_and_the_preview_says_so(
    owner: Owner, sandbox: Control
) -> None:
    data(owner.upgrade("pro"))
    ends_at = data(owner.cancel("period_end"))["endsAt"]

    foreseen = data(owner.preview("business"))
    data(owner.upgrade("business"))

    assert foreseen["endsAt"] == ends_at
    [subscription] = live_subscriptions(sandbox)
    assert subscription["cancel_at_period_end"]
    assert owner.mirror.cancel_at == datetime.fromisoformat(ends_at)


def test_an_upgrade_out_of_a_cancelled_trial_ends_when_its_preview_says(
    owner: Owner, sandbox: Control
) -> None:
    data(owner.cancel("period_end"))

    foreseen = data(owner.preview("pro"))
    data(owner.upgrade("pro"))

    mirror = owner.mirror
    assert mirror.cancel_at is not None
    # The month begins with the upgrade itself, seconds after its preview.
    later = mirror.cancel_at - datetime.fromisoformat(foreseen["endsAt"])
    assert timedelta(0) <= later < timedelta(hours=1)


def test_without_a_pending_cancellation_the_preview_speaks_of_no_end(owner: Owner) -> None:
    assert "endsAt" not in data(owner.preview("pro"))
    found = preview(org_id=owner.id, plan_code="pro", proration="always_invoice")
    assert found.ends_at is None


def test_a_card_that_is_declined_later_is_no_matter_while_the_trial_runs(
    waiting: Owner, sandbox: Control
) -> None:
    use_card(waiting, "pm_card_chargeCustomerFail")

    assert data(waiting.subscribe("starter"))["status"] == "trialing"
    assert clock.now() < promised(waiting)
