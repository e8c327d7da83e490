"""Replaying events and asking Stripe how things stand, as staff do it."""

from typing import Any

import pytest
from django.test import Client

from billing.models import Subscription
from billing.stripe_gateway import StripeGateway
from config.contract import clock
from quotas.models import Entitlement
from tests.backoffice.acting import Look, Staff, confirm, do, look
from tests.sandbox.server import Control
from tests.webhooks.cast import an_event, deliver, work_off
from tests.webhooks.lives import Life
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
State = WebhookEvent.State


@pytest.fixture
def life(sandbox: Control, gateway: StripeGateway) -> Life:
    """An organisation whose trial became a paid month; every event was processed."""
    made = Life(gateway)
    sandbox.travel(days=15)
    for event in sandbox.events():
        deliver(event)
    work_off()
    return made


def fall_behind(life: Life) -> WebhookEvent:
    """Let an event be parked, and what it said be unknown here."""
    Subscription.objects.filter(org_id=life.org_id).update(status="trialing")
    Entitlement.objects.filter(org_id=life.org_id).update(
        status="trialing", trial_ends_at=clock.now()
    )
    event = WebhookEvent.objects.filter(type="customer.subscription.updated").latest("pk")
    event.state, event.error = State.PARKED, "boom"
    event.save(update_fields=["state", "error"])
    return event


def test_a_parked_event_is_replayed_and_the_entitlement_converges(staff: Staff, life: Life) -> None:
    event = fall_behind(life)
    client = staff("support")

    looked = look(client, "replay-webhooks", state="parked")

    assert looked.changes["1 × customer.subscription.updated"] == ("parked", "queued")
    assert ("trialing", "active") in looked.changes.values()
    assert "+00:00" not in looked.text
    assert confirm(client, "replay-webhooks", looked).status_code == 302
    work_off()
    event.refresh_from_db()
    assert event.state == State.PROCESSED
    assert Entitlement.objects.get(org_id=life.org_id).status == "active"


def chosen(client: Client, *events: WebhookEvent) -> Look:
    return Look(
        client.post(
            "/admin/webhooks/webhookevent/",
            {"action": "replay_chosen", "_selected_action": [one.pk for one in events]},
        )
    )


def test_rows_chosen_in_the_list_are_replayed(staff: Staff, life: Life) -> None:
    client = staff("support")
    events = list(WebhookEvent.objects.order_by("pk")[:3])

    form = chosen(client, *events)
    named = form.response.context["form"].initial["event_ids"]
    do(client, "replay-webhooks", event_ids=named)

    assert named.split() == [one.event_id for one in events]
    assert WebhookEvent.objects.filter(state=State.PENDING).count() == 3


def test_who_may_not_replay_is_not_offered_it_in_the_list(staff: Staff, life: Life) -> None:
    auditor, support = staff("auditor"), staff("support")
    path = "/admin/webhooks/webhookevent/"

    pages = [one.get(path).content.decode() for one in (auditor, support)]
    chosen(auditor, WebhookEvent.objects.latest("pk"))

    assert ['value="replay_chosen"' in page for page in pages] == [False, True]
    assert not WebhookEvent.objects.filter(state=State.PENDING).exists()


def test_the_page_of_an_event_leads_to_replaying_it(staff: Staff, life: Life) -> None:
    event = WebhookEvent.objects.latest("pk")

    page = staff("support").get(f"/admin/webhooks/webhookevent/{event.event_id}/change/")

    assert f"/admin/acts/replay-webhooks/?event_ids={event.event_id}" in page.content.decode()


def test_events_are_chosen_by_type_organisation_and_time(staff: Staff, life: Life) -> None:
    client = staff("support")
    deliver(an_event())
    work_off()
    of_the_org = WebhookEvent.objects.filter(org_id=life.org_id)
    paid = of_the_org.filter(type="invoice.paid").count()

    by_type = look(client, "replay-webhooks", type="invoice.paid", org_id=life.org_id)
    before_all = look(client, "replay-webhooks", org_id=life.org_id, until="2020-01-01T00:00")

    assert f"{paid} × invoice.paid" in by_type.changes
    assert "No event fits" in before_all.text
    assert not before_all.can_be_confirmed


def test_what_comes_in_while_somebody_reads_is_left_alone(staff: Staff, life: Life) -> None:
    client = staff("support")
    looked = look(client, "replay-webhooks", type="customer.created")
    before = WebhookEvent.objects.filter(type="customer.created").count()
    deliver(an_event())
    work_off()

    assert confirm(client, "replay-webhooks", looked).status_code == 302

    assert WebhookEvent.objects.filter(state=State.PENDING).count() == before


def test_everything_there_is_cannot_be_replayed_by_an_empty_form(staff: Staff, life: Life) -> None:
    looked = look(staff("support"), "replay-webhooks")

    assert "Say which events" in looked.text


def test_ids_that_are_not_known_are_named(staff: Staff, life: Life) -> None:
    event = WebhookEvent.objects.latest("pk")

    looked = look(staff("support"), "replay-webhooks", event_ids=f"{event.event_id}, evt_nobody")

    assert "Not known here: evt_nobody" in looked.text
    assert looked.can_be_confirmed


def test_while_stripe_is_away_events_can_still_be_queued(
    staff: Staff, life: Life, sandbox: Control
) -> None:
    sandbox.fault("error", count=50)
    client = staff("support")

    looked = look(client, "replay-webhooks", type="customer.subscription.updated")
    sandbox.clear_faults()

    assert "What it would change is not known" in looked.text
    assert confirm(client, "replay-webhooks", looked).status_code == 302


def test_an_organisation_that_fell_behind_is_brought_up_to_stripe(staff: Staff, life: Life) -> None:
    fall_behind(life)
    client = staff("support")

    looked = look(client, "resync-organization", org_id=life.org_id)

    assert any("Stripe says" in was for was, _ in looked.changes.values())
    confirm(client, "resync-organization", looked)
    assert Entitlement.objects.get(org_id=life.org_id).status == "active"
    again = look(client, "resync-organization", org_id=life.org_id)
    assert "Nothing differs" in again.text
    assert not again.can_be_confirmed


def test_while_stripe_is_away_nothing_can_be_compared(
    staff: Staff, life: Life, sandbox: Control
) -> None:
    sandbox.fault("error", count=50)

    looked: Any = look(staff("support"), "resync-organization", org_id=life.org_id)

    sandbox.clear_faults()
    assert not looked.can_be_confirmed
    assert looked.response.context["form"].non_field_errors()
