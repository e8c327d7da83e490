"""What an owner does on the page: through the services of the API, each once."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from billing.models import Operation
from config.contract import clock
from tests.billing.owners import Owner, live_subscriptions, paid
from tests.contract.state import digest, nothing_written
from tests.portal.cast import USAGE, Visitor, done, forms, html, visitor_of
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
