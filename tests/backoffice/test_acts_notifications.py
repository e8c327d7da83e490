"""Telling an owner again, as staff do it."""

import uuid

import pytest

from billing.notifications.models import Delivery, Notification, NotificationSettings
from config.contract import clock
from config.contract.ids import new_id
from tests.backoffice.acting import Look, Staff, confirm, do, look
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)
State = Delivery.State


@pytest.fixture
def webhook(org: Org) -> Delivery:
    """A webhook that was given up."""
    now = clock.real_now()
    NotificationSettings.objects.create(
        org_id=org.id,
        url="https://hooks.acme.example/in",
        secret_id=uuid.uuid4(),
        updated_at=now,
    )
    told = Notification.objects.create(
        message_id=new_id("msg"),
        org_id=org.id,
        kind=Notification.Kind.THRESHOLD_CROSSED,
        key="k",
        data={},
        happened_at=now,
        created_at=now,
    )
    return Delivery.objects.create(
        notification=told,
        channel=Delivery.Channel.WEBHOOK,
        state=State.FAILED,
        attempts=10,
        error="timeout",
        due_at=now,
        finished_at=now,
    )


def test_what_was_given_up_is_sent_again(staff: Staff, org: Org, webhook: Delivery) -> None:
    client = staff("support")

    looked = look(client, "resend-notification", org_id=org.id, delivery_id=webhook.pk)

    assert looked.changes == {
        "Threshold crossed to https://hooks.acme.example/in": (
            "failed after 10 attempts (timeout)",
            "sent again, now",
        )
    }
    assert confirm(client, "resend-notification", looked).status_code == 302
    webhook.refresh_from_db()
    assert (webhook.state, webhook.round, webhook.attempts) == (State.WAITING, 0, 10)


def test_what_was_sent_meanwhile_is_shown_anew(staff: Staff, org: Org, webhook: Delivery) -> None:
    client = staff("support")
    looked = look(client, "resend-notification", org_id=org.id, delivery_id=webhook.pk)
    Delivery.objects.update(state=State.DONE, attempts=11)

    late = Look(confirm(client, "resend-notification", looked))

    assert late.response.status_code == 409
    assert Delivery.objects.get().state == State.DONE


def test_a_delivery_of_another_organisation_is_not_found(
    staff: Staff, stranger: Org, webhook: Delivery
) -> None:
    looked = look(
        staff("support"), "resend-notification", org_id=stranger.id, delivery_id=webhook.pk
    )

    assert "The organisation has no such delivery" in looked.text


def test_the_page_of_a_delivery_leads_to_sending_it_again(
    staff: Staff, org: Org, webhook: Delivery
) -> None:
    client = staff("support")

    page = client.get(f"/admin/billing/delivery/{webhook.pk}/change/").content.decode()
    do(client, "resend-notification", org_id=org.id, delivery_id=webhook.pk)

    assert f"delivery_id={webhook.pk}" in page
