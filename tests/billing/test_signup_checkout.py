"""POST /api/signup with `checkout: true`: the trial starts now, Stripe's page takes the card."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from billing import checkouts, convergence, tasks
from billing.models import IdempotencyKey, Operation, Organization, Plan, Subscription
from config.contract import clock
from config.contract.bodies import rfc3339
from config.contract.errors import Unavailable
from quotas.models import Entitlement
from tests.billing.signups import (
    NOTHING,
    ONE,
    at_stripe,
    replayed,
    sign_up,
    visible,
)
from tests.sandbox.server import Control
from tests.support.cast import data, error
from tokens.models import OrgAccess

pytestmark = pytest.mark.django_db(transaction=True)

PASSING = ["rate_limited", "conflict", "error", "cut_before", "cut_after"]
KEPT = ["stored_error", "stored_error_after"]


def _session(sandbox: Control) -> dict[str, Any]:
    """Return the sandbox's view of the page of the one sign-up."""
    result = Operation.objects.get().result
    assert result is not None
    return sandbox.show(result["checkoutSession"])


def _complete(sandbox: Control, url: str) -> None:
    """Pay on the page, as the owner would."""
    status, _, leads_to = sandbox.page(url, action="pay", card="pm_card_visa")
    assert (status, leads_to) == (302, f"{settings.PUBLIC_URL}/portal/checkout/done")


def _hear_of_it(sandbox: Control) -> None:
    """Do what the webhook of the new subscription does."""
    [event] = sandbox.events(type_="customer.subscription.created")
    convergence.converge(event["data"]["object"]["id"], because="webhook")


def test_the_answer_has_the_page_beside_the_rest(sandbox: Control) -> None:
    answer = data(sign_up(checkout=True))

    assert set(answer) == {"orgId", "planCode", "trialEndsAt", "checkoutUrl", "activationCode"}
    assert answer["checkoutUrl"] == _session(sandbox)["url"]


def test_the_page_is_the_organisations_own(sandbox: Control) -> None:
    answer = data(sign_up(checkout=True))

    session = _session(sandbox)
    assert session["mode"] == "subscription"
    assert session["customer"] == Organization.objects.get().stripe_customer_id
    assert session["client_reference_id"] == answer["orgId"]
    assert session["metadata"] == {"org_id": answer["orgId"]}
    assert session["payment_method_collection"] == "always"
    assert session["success_url"] == f"{settings.PUBLIC_URL}/portal/checkout/done"
    assert session["cancel_url"] == f"{settings.PUBLIC_URL}/portal/checkout/left"


def test_the_trial_starts_now_and_there_is_no_subscription_yet(sandbox: Control) -> None:
    before = clock.now()

    answer = data(sign_up(checkout=True))

    entitlement = Entitlement.objects.get()
    assert entitlement.trial_ends_at is not None
    length = entitlement.trial_ends_at - before
    assert entitlement.status == "trialing"
    assert -1 <= length.total_seconds() - 14 * 86_400 <= 60
    assert answer["trialEndsAt"] == rfc3339(entitlement.trial_ends_at)
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 0))
    assert OrgAccess.objects.get().installation_limit == 5
    assert not Subscription.objects.exists()


def test_completing_the_page_brings_the_subscription_with_the_same_end(sandbox: Control) -> None:
    answer = data(sign_up(checkout=True))
    promised = Entitlement.objects.get().trial_ends_at

    _complete(sandbox, answer["checkoutUrl"])
    _hear_of_it(sandbox)

    mirror, entitlement = Subscription.objects.get(), Entitlement.objects.get()
    subscription = sandbox.show(mirror.stripe_subscription_id)
    assert subscription["metadata"]["org_id"] == answer["orgId"]
    assert mirror.org_id == entitlement.org_id == answer["orgId"]
    assert mirror.status == entitlement.status == "trialing"
    assert mirror.trial_ends_at == entitlement.trial_ends_at == promised
    assert entitlement.version == 1


def test_a_repeat_reads_the_page_again_and_stores_no_url(sandbox: Control) -> None:
    first = sign_up("k1", checkout=True)

    second = sign_up("k1", checkout=True)

    stored = [*Operation.objects.values(), *IdempotencyKey.objects.values()]
    assert second.content == first.content
    assert replayed(second)
    assert data(first)["checkoutUrl"] not in json.dumps(stored, default=str)
    assert sandbox.state()["objects"]["checkout.session"] == 1


def test_a_repeat_leaves_the_page_out_once_it_is_closed(sandbox: Control) -> None:
    first = data(sign_up("k1", checkout=True))
    _complete(sandbox, first["checkoutUrl"])

    again = data(sign_up("k1", checkout=True))

    assert again == {k: v for k, v in first.items() if k != "checkoutUrl"}


def test_a_repeat_while_stripe_fails_is_no_answer_without_the_page(sandbox: Control) -> None:
    first = sign_up("k1", checkout=True)
    sandbox.fault("cut_before", path="/v1/checkout/sessions/*")

    during, after = sign_up("k1", checkout=True), sign_up("k1", checkout=True)

    assert (during.status_code, error(during)["code"]) == (503, "UNAVAILABLE")
    assert after.content == first.content


@pytest.mark.parametrize("kind", [*PASSING, *KEPT])
def test_a_fault_at_the_page_is_completed_by_the_retry(sandbox: Control, kind: str) -> None:
    sandbox.fault(kind, path="/v1/checkout/sessions", method="POST")
    failed = sign_up("k1", checkout=True)
    seen = visible()

    retried = data(sign_up("k1", checkout=True))

    assert failed.status_code in (502, 503)
    assert seen == NOTHING
    assert retried["checkoutUrl"] == _session(sandbox)["url"]
    assert (visible(), at_stripe(sandbox)) == (ONE, (1, 0))


def test_a_lost_answer_leads_to_the_same_page(sandbox: Control) -> None:
    sandbox.fault("cut_after", path="/v1/checkout/sessions", method="POST")
    sign_up("k1", checkout=True)

    sign_up("k1", checkout=True)

    assert sandbox.state()["objects"]["checkout.session"] == 1


def test_a_sign_up_that_lay_broken_too_long_gets_a_new_end(sandbox: Control) -> None:
    sandbox.fault("cut_after", path="/v1/checkout/sessions", method="POST")
    sign_up("k1", checkout=True)
    sandbox.travel(days=12, hours=1)

    answer = data(sign_up("k1", checkout=True))

    session = _session(sandbox)
    ends_at = Entitlement.objects.get().trial_ends_at
    assert ends_at is not None
    assert (ends_at - clock.now()).days == 13
    assert answer["checkoutUrl"] == session["url"]
    assert session["created"] > sandbox.now() - 3600


def test_a_trial_without_a_completed_page_ends_with_its_time(sandbox: Control) -> None:
    sign_up(checkout=True)
    sandbox.travel(days=13)
    tasks.end_checkout_trials()
    before = Entitlement.objects.get().status
    sandbox.travel(days=1, seconds=60)

    tasks.end_checkout_trials()
    tasks.end_checkout_trials()

    entitlement = Entitlement.objects.get()
    assert before == "trialing"
    assert (entitlement.status, entitlement.version) == ("canceled", 2)
    assert entitlement.status_because == "the trial ended and Checkout was not completed"


def test_a_completed_page_whose_webhook_was_lost_is_found_at_the_trials_end(
    sandbox: Control,
) -> None:
    answer = data(sign_up(checkout=True))
    _complete(sandbox, answer["checkoutUrl"])
    sandbox.travel(days=14, hours=2)

    tasks.end_checkout_trials()

    assert Entitlement.objects.get().status == Subscription.objects.get().status == "active"


def test_one_trial_that_cannot_be_settled_does_not_keep_the_others_waiting(
    sandbox: Control,
) -> None:
    sign_up(checkout=True)
    sign_up(checkout=True, email="second@acme.example")
    sandbox.travel(days=14, seconds=60)
    sandbox.fault("error", path="/v1/subscriptions", method="GET")

    first_run = checkouts.end_trials(now=clock.now())
    second_run = checkouts.end_trials(now=clock.now())

    assert (first_run, second_run) == (1, 1)


def test_while_stripe_is_away_no_trial_is_ended_unasked(sandbox: Control) -> None:
    sign_up(checkout=True)
    sandbox.travel(days=14, seconds=60)
    sandbox.fault("cut_before", path="/v1/subscriptions", method="GET")

    with pytest.raises(Unavailable):
        checkouts.end_trials(now=clock.now())

    assert Entitlement.objects.get().status == "trialing"


def test_trials_with_a_subscription_are_left_to_stripe(sandbox: Control) -> None:
    sign_up()
    sandbox.travel(days=14, hours=2)
    sandbox.fault("error", count=-1)

    assert checkouts.end_trials(now=clock.now()) == 0
    assert Entitlement.objects.get().status == "trialing"


def test_checkout_of_a_plan_without_a_price_makes_no_page(sandbox: Control) -> None:
    Plan.objects.filter(code="starter").update(currency="eur")
    failed = sign_up("k1", checkout=True)
    Plan.objects.filter(code="starter").update(currency="usd")

    assert (failed.status_code, error(failed)["code"]) == (502, "STRIPE_ERROR")
    assert "checkout.session" not in sandbox.state()["objects"]
    assert visible() == NOTHING


@pytest.mark.parametrize("page", ["done", "left"])
def test_the_pages_it_leads_back_to_are_there_for_everybody(page: str) -> None:
    response = Client().get(f"/portal/checkout/{page}")

    assert response.status_code == 200
    assert "<h1>" in response.content.decode()
