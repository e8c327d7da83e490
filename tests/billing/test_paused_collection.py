"""What `pause_collection` means for access: what staff forgo is not used for ever."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.conf import settings

from billing.stripe_gateway import StripeGateway
from quotas.models import Entitlement
from tests.billing.owners import Owner, paid
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.server import Control
from tests.support.cast import data
from tests.webhooks.cast import deliver, work_off


@pytest.fixture
def dashboard(gateway: StripeGateway) -> Dashboard:
    """Staff at Stripe."""
    return Dashboard(gateway)


def _pause(dashboard: Dashboard, owner: Owner, behavior: str, **more: Any) -> str:
    subscription: str = owner.mirror.stripe_subscription_id
    dashboard.edit(subscription, pause_collection={"behavior": behavior, **more})
    owner.converge()
    return subscription


@pytest.mark.parametrize("behavior", ["void", "mark_uncollectible"])
def test_what_is_never_collected_is_past_due_and_access_ends_with_the_grace(
    sandbox: Control, owner: Owner, dashboard: Dashboard, behavior: str
) -> None:
    assert owner.upgrade().status_code == 200
    subscription = _pause(dashboard, owner, behavior)
    assert sandbox.show(subscription)["status"] == "active"

    shown = owner.entitlements()
    assert shown["status"] == "past_due"
    assert owner.use(1).status_code == 200

    since = Entitlement.objects.get(org_id=owner.id).past_due_since
    sandbox.travel(days=settings.PAST_DUE_GRACE / timedelta(days=1) / 2)
    owner.converge()
    assert Entitlement.objects.get(org_id=owner.id).past_due_since == since
    sandbox.travel(days=settings.PAST_DUE_GRACE / timedelta(days=1))
    assert owner.use(1).status_code == 402
    owner.converge()
    assert owner.use(1).status_code == 402

    dashboard.edit(subscription, pause_collection="")
    owner.converge()
    assert owner.entitlements()["status"] == "active"
    assert owner.use(1).status_code == 200


def test_what_is_kept_as_a_draft_stays_active(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade().status_code == 200
    before = paid(sandbox)
    _pause(dashboard, owner, "keep_as_draft")
    sandbox.travel(days=33)
    owner.converge()

    assert owner.entitlements()["status"] == "active"
    assert owner.use(1).status_code == 200
    assert sandbox.objects("invoice")[-1]["status"] == "draft"
    assert paid(sandbox) == before


def test_a_pause_that_ends_by_itself_is_followed(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade().status_code == 200
    _pause(dashboard, owner, "void", resumes_at=sandbox.now() + 2 * 86_400)
    assert owner.entitlements()["status"] == "past_due"

    sandbox.travel(days=3)
    owner.converge()

    assert owner.entitlements()["status"] == "active"


def test_a_trial_goes_on_while_collection_is_paused(owner: Owner, dashboard: Dashboard) -> None:
    _pause(dashboard, owner, "void")

    assert owner.entitlements()["status"] == "trialing"


def test_nothing_dearer_is_sold_while_nobody_would_collect_it(
    sandbox: Control, owner: Owner, dashboard: Dashboard
) -> None:
    assert owner.upgrade("pro").status_code == 200
    subscription = _pause(dashboard, owner, "void")
    before = sandbox.show(subscription)

    assert owner.preview("business").status_code == 409
    assert owner.upgrade("business").status_code == 409
    assert sandbox.show(subscription) == before

    assert owner.preview("starter").status_code == 200
    assert owner.downgrade("starter").status_code == 200
    assert owner.keep_plan().status_code == 200
    assert owner.cancel().status_code == 200
    assert data(owner.resume())["status"] == "past_due"
    assert sandbox.show(subscription)["pause_collection"] == before["pause_collection"]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_events_of_a_pause_end_where_stripe_is_in_any_order(
    sandbox: Control, owner: Owner, dashboard: Dashboard, order: tuple[int, ...]
) -> None:
    assert owner.upgrade().status_code == 200
    subscription: str = owner.mirror.stripe_subscription_id
    sandbox.events(subscription)
    behaviors: list[Any] = [{"behavior": "void"}, "", {"behavior": "mark_uncollectible"}]
    for behavior in behaviors:
        dashboard.edit(subscription, pause_collection=behavior)
    events = sandbox.events(subscription, type_="customer.subscription.updated")[-3:]

    for number in order:
        deliver(events[number])
        deliver(events[number])
        work_off()

    assert owner.entitlements()["status"] == owner.mirror.status == "past_due"
