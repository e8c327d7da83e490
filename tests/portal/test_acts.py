"""What an owner does on the page: through the services of the API, each once."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from billing.models import Operation
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract import clock
from config.contract.clients import clients
from tests.billing.owners import Owner, live_subscriptions, new_owner, paid, use_card
from tests.contract.state import digest, nothing_written
from tests.portal.cast import USAGE, Visitor, forms, html, visitor_of
from tests.sandbox.server import Control
from tests.support.cast import Org, data, tokens_for
from tokens.families import revoke_family
from tokens.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)

PRO = "/portal/plans/pro"
STARTER = "/portal/plans/starter"


def acted() -> list[tuple[str, Any]]:
    """Return what the audit trail says was done on pages, in order."""
    rows = AuditEntry.objects.filter(what__startswith="portal_").order_by("pk")
    return [
        (one.what.removeprefix("portal_"), one.detail)
        for one in rows
        if not one.what.startswith("portal_link")
    ]


def done(response: Any, what: str) -> bool:
    return (response.status_code, response.headers.get("Location")) == (
        303,
        f"{USAGE}?done={what}",
    )


def test_an_upgrade_is_previewed_confirmed_and_seen(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    owner.use(4000)
    amount = data(owner.preview("pro"))["amount"]

    asked = owners_visit.get(PRO)
    pressed = owners_visit.press(PRO)
    seen = html(owners_visit.get(pressed.headers["Location"]))

    assert amount == 9900
    assert "Upgrade and pay $99.00" in html(asked)
    assert "Your trial ends with this" in html(asked)
    assert "4,000 API calls, 96,000 left" in html(asked)
    assert forms(asked)[""]["expected_amount"] == "9900"
    assert done(pressed, "upgrade")
    assert "Done. You are on the Pro plan now." in seen
    assert "of 100,000" in seen
    assert owner.entitlements()["planCode"] == "pro"
    assert paid(sandbox) == [9900]
    assert acted() == [("upgrade", {"plan": "pro"})]


def test_looking_at_what_a_change_costs_writes_nothing(owners_visit: Visitor) -> None:
    pages = (PRO, "/portal/plans/business", "/portal/cancel", STARTER, "/portal/resume")
    for path in pages[:2]:
        owners_visit.get(path)  # the ids of the plans' prices are looked up once

    with nothing_written():
        answers = [owners_visit.get(path).status_code for path in pages]

    # On starter already, and nothing to resume: there is nothing to ask.
    assert answers == [200, 200, 200, 303, 303]


def test_a_button_pressed_twice_charges_once(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    form = forms(owners_visit.get(PRO))[""]

    answers = [owners_visit.post(PRO, form) for _ in range(3)]

    assert all(done(one, "upgrade") for one in answers)
    assert paid(sandbox) == [9900]
    assert Operation.objects.filter(kind=Operation.Kind.UPGRADE).count() == 1


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


def test_a_downgrade_is_scheduled_and_taken_back(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    owner.upgrade()
    asked = html(owners_visit.get(STARTER))

    scheduled = owners_visit.press(STARTER)
    waiting = owner.entitlements()["scheduledChange"]
    kept = owners_visit.press("/portal/keep-plan")

    assert "You keep Pro until" in asked
    assert "Nothing is charged now" in asked
    assert done(scheduled, "downgrade")
    assert waiting["newPlanCode"] == "starter"
    assert done(kept, "keep-plan")
    assert owner.entitlements()["scheduledChange"] is None
    assert paid(sandbox) == [9900]
    assert [what for what, _ in acted()] == ["downgrade", "keep_plan"]


def test_a_plan_is_cancelled_with_its_period_and_taken_up_again(
    owner: Owner, owners_visit: Visitor
) -> None:
    cancelled = owners_visit.press("/portal/cancel")
    ending = owner.mirror.cancel_at
    resumed = owners_visit.press("/portal/resume")

    assert done(cancelled, "cancel")
    assert ending is not None
    assert owner.entitlements()["status"] == "trialing"
    assert done(resumed, "resume")
    assert owner.mirror.cancel_at is None
    assert [what for what, _ in acted()] == ["cancel", "resume"]


def test_after_the_end_a_plan_is_subscribed_to_once(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    owner.cancel("now")
    asked = owners_visit.get(PRO)
    form = forms(asked)[""]

    answers = [owners_visit.post(PRO, form) for _ in range(2)]

    assert "Subscribe and pay $99.00" in html(asked)
    assert "There is no second trial." in html(asked)
    assert all(done(one, "subscribe") for one in answers)
    assert len(live_subscriptions(sandbox)) == 1
    assert owner.entitlements()["status"] == "active"


@pytest.mark.parametrize(
    ("path", "flow"),
    [("/portal/payment-method", "payment_method_update"), ("/portal/billing", None)],
)
def test_stripes_pages_are_a_click_away_and_lead_back(
    path: str, flow: str | None, owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    answer = owners_visit.press(USAGE, action=path)

    [url] = re.findall(r'content="0; url=([^"]+)"', html(answer))
    [session] = sandbox.objects("billing_portal.session")
    assert answer.status_code == 200
    assert url == session["url"]
    assert f'href="{url}"' in html(answer)
    assert session["return_url"].endswith(USAGE)
    assert (session["flow"] or {}).get("type") == flow
    assert session["customer"] == owner.customer_id
    assert acted() == [("stripe_opened", {})]
    assert owners_visit.get(path).headers["Location"] == USAGE


def test_stripe_away_is_a_page_too(owners_visit: Visitor, sandbox: Control) -> None:
    form = forms(owners_visit.get())["/portal/billing"]
    sandbox.fault("cut_before", count=100)

    answer = owners_visit.post("/portal/billing", form)

    assert answer.status_code == 503
    assert "That did not get through" in html(answer)


ACTS = [PRO, "/portal/cancel", "/portal/resume", "/portal/keep-plan", "/portal/billing"]


@pytest.mark.parametrize("path", [*ACTS, "/portal/payment-method"])
def test_who_may_only_look_cannot_act(path: str, owner: Owner) -> None:
    looker = visitor_of(Org(owner.id, tokens_for(owner.id, ("billing:read",))))
    form = {**forms(looker.get())[USAGE], "kind": "upgrade", "key": "0" * 32}
    before = digest()

    answers = [looker.get(path), looker.post(path, form)]

    for answer in answers:
        assert answer.status_code == 403
        assert "made to look at, not to change" in html(answer)
    assert digest() == before


def test_an_end_between_the_question_and_the_answer_stops_the_act(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    form = forms(owners_visit.get(PRO))[""]
    revoke_family(
        org_id=owner.id, family_id=owner.tokens.family.id, who="test", now=clock.real_now()
    )

    with nothing_written():
        answer = owners_visit.post(PRO, form)

    assert answer.status_code == 401
    assert paid(sandbox) == []


def _no_key(form: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if name != "key"}


@pytest.mark.parametrize(
    "spoilt",
    [
        _no_key,
        lambda form: {**form, "key": "x" * 32},
        lambda form: {**form, "key": "a" * 33},
        lambda form: {**form, "kind": "reset"},
        lambda form: {**form, "kind": "cancel"},
        lambda form: {**form, "expected_amount": "1.5"},
        lambda form: {**form, "proration_date": "\u0661"},
        lambda form: {**form, "expected_amount": ""},
    ],
)
def test_a_form_that_is_not_as_we_made_it_does_nothing(
    spoilt: Callable[[dict[str, str]], dict[str, str]], owner: Owner, owners_visit: Visitor
) -> None:
    form = forms(owners_visit.get(PRO))[""]

    answer = owners_visit.post(PRO, spoilt(form))

    assert answer.status_code == 400
    assert acted() == []
    assert owner.entitlements()["planCode"] == "starter"
    assert not Operation.objects.exclude(kind="sign_up").exists()


def test_a_form_of_one_page_does_nothing_on_another(owner: Owner, owners_visit: Visitor) -> None:
    form = forms(owners_visit.get(PRO))[""]

    answers = [owners_visit.post(path, form) for path in ("/portal/cancel", "/portal/resume")]

    assert [one.status_code for one in answers] == [400, 400]
    assert acted() == []
    assert owner.mirror.cancel_at is None


@pytest.mark.parametrize("code", ["platinum", "PRO", "é", "%00", "%ff", "x" * 200])
def test_a_plan_that_is_not_sold_is_not_found(code: str, owners_visit: Visitor) -> None:
    answer = owners_visit.get(f"/portal/plans/{code}")

    assert answer.status_code == 404


def test_a_change_that_makes_no_sense_any_more_says_so(owner: Owner, owners_visit: Visitor) -> None:
    form = forms(owners_visit.get(PRO))[""]
    owner.upgrade("business")

    answer = owners_visit.post(PRO, form)

    assert answer.status_code == 409
    assert "That is not possible" in html(answer)
    assert owner.entitlements()["planCode"] == "business"


def test_the_slot_to_stripe_that_is_taken_is_asked_for_again(
    owner: Owner, owners_visit: Visitor, sandbox: Control
) -> None:
    # As in a web process: one request at a time may wait for Stripe.
    transport = Transport(api_key=settings.STRIPE_API_KEY, base_url=sandbox.url, slots=1)
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
