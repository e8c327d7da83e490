"""Changes that were due and of which nothing was heard."""

from datetime import timedelta

import pytest

from billing.stripe_gateway import StripeGateway
from config.contract import clock
from quotas.models import Entitlement
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tests.webhooks.cast import mirror, sign_up, work_off
from webhooks import overdue, tasks
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    return sign_up()


def test_nothing_is_asked_before_the_time(owner: Org, sandbox: Control) -> None:
    sandbox.travel(days=13)

    assert overdue.ask(now=clock.now()) == 0


def test_a_trial_that_ended_without_a_word_is_asked_about(owner: Org, sandbox: Control) -> None:
    sandbox.travel(days=15)

    tasks.ask_overdue()
    work_off()

    row = WebhookEvent.objects.get()
    assert (row.type, row.object_id) == (
        "metergate.converge",
        mirror(owner).stripe_subscription_id,
    )
    assert (row.state, row.org_id) == ("processed", owner.id)
    assert mirror(owner).status == "active"
    assert data(owner.get("/api/me/entitlements"))["status"] == "active"


def test_a_downgrade_that_took_effect_without_a_word_is_asked_about(
    owner: Org, sandbox: Control
) -> None:
    owner.post("/api/plans/upgrade", {"orgId": owner.id, "newPlanCode": "pro"})
    owner.post("/api/plans/downgrade", {"orgId": owner.id, "newPlanCode": "starter"})
    sandbox.travel(days=32)

    overdue.ask(now=clock.now())
    work_off()

    entitlement = Entitlement.objects.get(org_id=owner.id)
    assert (entitlement.plan_code, entitlement.scheduled_at) == ("starter", None)


def test_a_cancellation_that_took_effect_without_a_word_is_asked_about(
    owner: Org, sandbox: Control
) -> None:
    owner.post("/api/plans/cancel", {"orgId": owner.id, "at": "period_end"})
    sandbox.travel(days=15)

    overdue.ask(now=clock.now())
    work_off()

    assert Entitlement.objects.get(org_id=owner.id).status == "canceled"


def test_what_was_answered_is_not_asked_again(owner: Org, sandbox: Control) -> None:
    sandbox.travel(days=15)
    overdue.ask(now=clock.now())
    work_off()

    assert overdue.ask(now=clock.now() + timedelta(days=2)) == 0


def test_while_stripe_has_not_moved_it_is_asked_again_with_growing_patience(
    owner: Org, gateway: StripeGateway
) -> None:
    ends = mirror(owner).trial_ends_at
    assert ends is not None
    minutes = [0, 1, 4, 5, 6, 59, 60, 61, 359, 360, 1439, 1440, 1441, 100_000]

    asked = [overdue.ask(now=ends + timedelta(minutes=at)) for at in minutes]

    assert asked == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0]


def test_asking_twice_for_the_same_moment_is_asking_once(owner: Org, sandbox: Control) -> None:
    sandbox.travel(days=15)

    assert (overdue.ask(now=clock.now()), overdue.ask(now=clock.now())) == (1, 0)


def test_a_trial_of_checkout_has_nothing_to_ask_about_yet(sandbox: Control) -> None:
    sign_up(checkout=True)
    sandbox.travel(days=15)

    assert overdue.ask(now=clock.now()) == 0
