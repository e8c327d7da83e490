"""What time alone changes takes effect with no webhook and no beat, until Stripe says otherwise."""

from datetime import timedelta

import pytest
import stripe
from django.conf import settings

from config.contract import clock
from config.contract.clients import clients
from quotas.models import Entitlement, UsageCounter
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tests.webhooks.cast import mirror, sign_up, work_off
from webhooks import overdue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    return sign_up()


@pytest.fixture
def downgrading(owner: Org, sandbox: Control) -> Org:
    """On pro, with a downgrade to starter scheduled; nothing is heard of Stripe from now on."""
    owner.post("/api/plans/upgrade", {"orgId": owner.id, "newPlanCode": "pro"})
    owner.post("/api/plans/downgrade", {"orgId": owner.id, "newPlanCode": "starter"})
    return owner


def entitled(org: Org) -> tuple[str, str, int]:
    seen = data(org.get("/api/me/entitlements"))
    return seen["planCode"], seen["status"], seen["includedUnits"]


def counter(org: Org) -> UsageCounter:
    now = clock.now()
    return UsageCounter.objects.get(
        org_id=org.id, metric="api_call", period_start__lte=now, period_end__gt=now
    )


def ask_stripe() -> None:
    """Do what beat does every 30 seconds, and the worker after it."""
    overdue.ask(now=clock.now())
    work_off()


def test_a_scheduled_downgrade_takes_effect_by_itself(downgrading: Org, sandbox: Control) -> None:
    sandbox.travel(days=63)  # the first quota period after the change has begun

    used = data(downgrading.use(10_000))
    denied = downgrading.use(1)

    assert used["remaining"] == 0
    assert denied.status_code == 429
    assert entitled(downgrading) == ("starter", "active", 10_000)
    assert counter(downgrading).included == 10_000
    assert Entitlement.objects.get(org_id=downgrading.id).plan_code == "pro"  # nothing was told


def test_a_downgrade_that_was_undone_at_stripe_is_undone_here(
    downgrading: Org, sandbox: Control
) -> None:
    sandbox.advance(seconds=1)
    clients.stripe.release_schedule(
        schedule_id=mirror(downgrading).stripe_schedule_id, idempotency_key="staff"
    )
    sandbox.travel(days=63)
    downgrading.use(10_000)
    assert downgrading.use(1).status_code == 429

    ask_stripe()

    assert entitled(downgrading) == ("pro", "active", 100_000)
    assert data(downgrading.use(1))["remaining"] == 100_000 - 10_001
    assert counter(downgrading).used == 10_001


def test_a_trial_ends_by_itself_after_its_grace(owner: Org, sandbox: Control) -> None:
    sandbox.fault("card_declined", count=-1)
    sandbox.travel(days=14, hours=23)
    within = owner.use(1)
    sandbox.travel(hours=2)

    after = owner.use(1)
    asked = owner.check()

    assert within.status_code == 200
    assert (after.status_code, asked.status_code) == (402, 402)
    assert not counter(owner).access
    assert Entitlement.objects.get(org_id=owner.id).status == "trialing"  # nothing was told


def test_a_trial_that_became_a_subscription_goes_on(owner: Org, sandbox: Control) -> None:
    sandbox.travel(days=16)
    assert owner.use(1).status_code == 402

    ask_stripe()

    assert entitled(owner)[1] == "active"
    assert owner.use(1).status_code == 200


def test_a_trial_that_was_prolonged_at_stripe_goes_on(owner: Org, sandbox: Control) -> None:
    later = int((clock.now() + timedelta(days=40)).timestamp())
    staff = stripe.StripeClient(settings.STRIPE_API_KEY, base_addresses={"api": sandbox.url})
    staff.v1.subscriptions.update(
        mirror(owner).stripe_subscription_id, {"trial_end": later, "proration_behavior": "none"}
    )
    sandbox.travel(days=16)
    assert owner.use(1).status_code == 402

    ask_stripe()

    assert entitled(owner)[1] == "trialing"
    assert owner.use(1).status_code == 200
