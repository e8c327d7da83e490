"""What does not go through at once: declined, out of date, Stripe away, somebody else at it."""

import re
import threading
from datetime import timedelta

import pytest
from django.conf import settings

from billing.models import Operation
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract import clock
from config.contract.clients import clients
from tests.billing.owners import Owner, new_owner, paid, use_card
from tests.portal.cast import USAGE, Visitor, done, forms, html, visitor_of
from tests.sandbox.server import Control
from tests.support.callers import room_for

pytestmark = pytest.mark.django_db(transaction=True)

PRO = "/portal/plans/pro"


def test_a_price_that_changed_is_asked_about_anew(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    form = forms(owners_visit.get(PRO))[""]

    stale = owners_visit.post(PRO, {**form, "expected_amount": "100"})
    fresh = forms(stale)[""]
    confirmed = owners_visit.post(PRO, fresh)

    assert stale.status_code == 409
    assert "The price has changed" in html(stale)
    assert fresh["expected_amount"] == "9900"
    assert fresh["key"] != form["key"]
    assert done(confirmed, "upgrade")
    assert paid(sandbox) == [9900]


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ("pm_card_chargeCustomerFail", "The payment was declined"),
        ("pm_card_authenticationRequired", "Your bank wants you to confirm"),
    ],
)
def test_a_payment_that_is_refused_says_why_and_what_to_do(
    card: str, says: str, owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    use_card(owner, card)

    refused = owners_visit.press(PRO)

    assert refused.status_code == 402
    assert says in html(refused)
    assert "Your plan has not changed and nothing was charged." in html(refused)
    assert "/portal/payment-method" in forms(refused)
    assert ("Confirm with your bank</a>" in html(refused)) is (says.startswith("Your bank"))
    assert owner.entitlements()["planCode"] == "starter"
    assert paid(sandbox) == []


def test_after_a_refusal_another_card_is_set_and_the_upgrade_goes_through(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    use_card(owner, "pm_card_chargeCustomerFail")
    refused = owners_visit.press(PRO)
    leaving = owners_visit.post("/portal/payment-method", forms(refused)["/portal/payment-method"])
    [url] = re.findall(r'content="0; url=([^"]+)"', html(leaving))
    sandbox.page(url, action="pay", card="pm_card_mastercard")

    again = owners_visit.press(PRO)

    assert done(again, "upgrade")
    assert paid(sandbox) == [9900]


def test_without_a_card_the_owner_is_told_to_add_one(
    sandbox: Control, transactional_db: None
) -> None:
    sandbox.settings(auto_card=False)
    owner = new_owner()

    refused = visitor_of(owner).press(PRO)
    sandbox.settings(auto_card=True)

    assert refused.status_code == 402
    assert "There is no payment method yet" in html(refused)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "error", "rate_limited"])
def test_an_outage_of_stripe_is_tried_again_under_the_same_key(
    fault: str, owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    form = forms(owners_visit.get(PRO))[""]
    sandbox.fault(fault, count=1, path="/v1/subscriptions/*", method="POST")

    missed = owners_visit.post(PRO, form)
    again = forms(missed)[""]
    answer = owners_visit.post(PRO, again)

    assert missed.status_code in (502, 503)
    assert "Try again" in html(missed)
    assert again == form
    assert ("Retry-After" in missed.headers) is (missed.status_code == 503)
    assert done(answer, "upgrade")
    assert paid(sandbox) == [9900]


def test_a_preview_that_stripe_cannot_give_leads_back(
    owners_visit: Visitor, sandbox: Control
) -> None:
    sandbox.fault("cut_before", count=100)

    answer = owners_visit.get(PRO)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "That did not get through" in html(answer)
    assert USAGE in html(answer)


def test_a_change_that_is_still_being_made_is_looked_at_again(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    form = forms(owners_visit.get(PRO))[""]
    sandbox.fault("cut_before", count=1, path="/v1/subscriptions/*", method="POST")
    owners_visit.post(PRO, form)
    # Somebody else (the completer, on another machine) works on it.
    lease = clock.real_now() + timedelta(seconds=60)
    Operation.objects.filter(kind="upgrade").update(lease_until=lease)

    waiting = owners_visit.post(PRO, form)

    assert waiting.status_code == 409
    assert "Your change is being made" in html(waiting)
    assert forms(waiting)[""] == form
    assert waiting.headers["Retry-After"] == "1"


def test_stripe_away_is_a_page_too(owners_visit: Visitor, sandbox: Control) -> None:
    form = forms(owners_visit.get())["/portal/billing"]
    sandbox.fault("cut_before", count=100)

    answer = owners_visit.post("/portal/billing", form)

    assert answer.status_code == 503
    assert "That did not get through" in html(answer)


def test_a_change_that_makes_no_sense_any_more_says_so(owner: Owner, owners_visit: Visitor) -> None:
    form = forms(owners_visit.get(PRO))[""]
    owner.upgrade("business")

    answer = owners_visit.post(PRO, form)

    assert answer.status_code == 409
    assert "That is not possible" in html(answer)
    assert owner.entitlements()["planCode"] == "business"


def test_the_place_at_stripe_that_is_taken_is_asked_for_again(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    # A web process all of whose places are taken.
    transport = Transport(
        api_key=settings.STRIPE_API_KEY, base_url=sandbox.url, callers=room_for(1)
    )
    form = forms(owners_visit.get(PRO))[""]
    let_go, held = threading.Event(), threading.Event()

    def hold() -> None:
        with transport.session():
            held.set()
            let_go.wait(10)

    somebody = threading.Thread(target=hold)
    with clients.swapped("stripe", StripeGateway(transport)):
        somebody.start()
        held.wait(10)
        busy = owners_visit.post(PRO, form)
        let_go.set()
        somebody.join()
        answer = owners_visit.post(PRO, forms(busy)[""])

    assert busy.status_code == 503
    assert done(answer, "upgrade")
    assert paid(sandbox) == [9900]
