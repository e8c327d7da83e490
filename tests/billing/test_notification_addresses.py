"""Mail goes to an address that was chosen once its reader has agreed, and one link before."""

import re
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.test import Client
from pytest_django import Settings

from billing import tasks
from billing.models import Organization
from billing.notifications import addresses, services
from billing.notifications.models import NotificationAddress, NotificationSettings
from config.contract import clock
from tests.billing.test_contact import press
from tests.billing.test_notifications import put, told
from tests.support.cast import Org, data, error, make_org

pytestmark = pytest.mark.django_db(transaction=True)

OWN, STRANGER, OTHER = "owner@acme.example", "ops@stranger.example", "b@stranger.example"


def sent_to() -> list[str]:
    """Send what is due; return to whom mail went since the last look, sorted."""
    tasks.mail_addresses()
    told()
    recipients = sorted(message.to[0] for message in mail.outbox)
    mail.outbox.clear()
    return recipients


def links() -> dict[str, str]:
    """Send what is due; return the path of the link in each mail, by address."""
    tasks.mail_addresses()
    paths = {
        message.to[0]: re.findall(r"/portal/notices/\S+", str(message.body))[0]
        for message in mail.outbox
    }
    mail.outbox.clear()
    return paths


def pending(org: Org) -> list[str]:
    meta = org.get("/api/notifications").json().get("meta", {})
    return list(meta.get("emailsPending", []))


def cross(org: Org, used: int = 5_000) -> list[str]:
    """Let a threshold be crossed; return to whom mail went."""
    org.use(used)
    return sent_to()


def test_a_stranger_gets_one_link_and_nothing_else_until_the_button_is_pressed(org: Org) -> None:
    answer = put(org, emails=[STRANGER])

    assert data(answer)["emails"] == [STRANGER]
    assert answer.json()["meta"] == {"emailsPending": [STRANGER]}
    [path] = links().values()
    assert STRANGER not in cross(org)
    assert press(path).status_code == 200
    assert pending(org) == []
    assert cross(org, 3_000) == [STRANGER]


def test_the_answer_keeps_its_shape(org: Org) -> None:
    put(org, emails=[STRANGER])

    assert set(data(org.get("/api/notifications"))) == {"url", "emails", "thresholds"}
    put(org)
    assert "meta" not in org.get("/api/notifications").json()


def test_while_none_of_those_chosen_has_agreed_the_owner_is_told(org: Org) -> None:
    put(org, emails=[STRANGER, OTHER])
    paths = links()

    assert cross(org) == [OWN]
    press(paths[OTHER])
    assert cross(org, 3_000) == [OTHER]


def test_who_wants_no_mail_gets_none(org: Org) -> None:
    put(org, emails=[])

    assert cross(org) == []


def test_looking_at_the_link_agrees_to_nothing_and_its_button_works_once(org: Org) -> None:
    put(org, emails=[STRANGER])
    [path] = links().values()

    looks = [Client().get(path).status_code for _ in range(3)]
    without_form = Client().post(path).status_code

    assert (looks, without_form) == ([200] * 3, 403)
    assert pending(org) == [STRANGER]
    assert [press(path).status_code for _ in range(2)] == [200, 410]


def test_the_organisations_own_address_needs_no_link(org: Org) -> None:
    put(org, emails=[OWN])

    assert (links(), pending(org)) == ({}, [])
    assert cross(org) == [OWN]


def test_an_address_that_is_the_organisations_own_no_more_has_to_agree(org: Org) -> None:
    put(org, emails=[OWN, STRANGER])
    press(links()[STRANGER])
    Organization.objects.filter(org_id=org.id).update(email="new@acme.example")

    assert pending(org) == [OWN]
    assert cross(org) == [STRANGER]
    put(org, emails=[OWN, STRANGER])
    assert set(links()) == {OWN}


def test_the_same_choice_again_sends_no_second_link(org: Org) -> None:
    for _ in range(3):
        put(org, emails=[STRANGER])
        assert len(links()) <= 1

    put(org, emails=[STRANGER, OTHER])
    assert set(links()) == {OTHER}


def test_an_address_that_agreed_stays_while_others_come_and_go(org: Org) -> None:
    put(org, emails=[STRANGER])
    press(links()[STRANGER])

    put(org, emails=[STRANGER, OTHER], thresholds=[50])
    put(org, emails=[STRANGER])

    assert pending(org) == []
    assert cross(org) == [STRANGER]


@pytest.mark.parametrize("between", [{"emails": []}, {}, {"emails": [OTHER]}])
def test_an_address_that_was_left_out_is_asked_again(org: Org, between: dict[str, Any]) -> None:
    put(org, emails=[STRANGER])
    first = links()[STRANGER]
    press(first)
    put(org, **between)
    links()

    put(org, emails=[STRANGER])

    assert pending(org) == [STRANGER]
    assert links()[STRANGER] != first
    assert press(first).status_code == 410


def test_a_link_of_an_address_that_was_left_out_is_gone(org: Org) -> None:
    put(org, emails=[STRANGER])
    [path] = links().values()

    put(org, emails=[])

    assert (Client().get(path).status_code, press(path).status_code) == (410, 410)


def test_a_link_is_good_for_a_day_and_a_new_choice_sends_another(org: Org) -> None:
    put(org, emails=[STRANGER])
    [path] = links().values()

    with time_machine.travel(clock.real_now() + timedelta(hours=23, minutes=59)):
        assert Client().get(path).status_code == 200
    with time_machine.travel(clock.real_now() + timedelta(hours=24, minutes=1)):
        assert press(path).status_code == 410
        now = clock.real_now()
        services.put(
            org_id=org.id, url=None, emails=[STRANGER], percents=None, now=now, real_now=now
        )
        [again] = links().values()
        assert press(again).status_code == 200


def test_the_consent_given_to_one_organisation_is_none_to_another(org: Org) -> None:
    put(org, emails=[STRANGER])
    press(links()[STRANGER])
    other = make_org()

    put(other, emails=[STRANGER])

    assert pending(other) == [STRANGER]


def test_links_are_throttled_per_organisation_and_nothing_is_changed_then(
    org: Org, settings: Settings
) -> None:
    settings.THROTTLE_EMAIL_LINKS = "3/hour"
    put(org, emails=["a@x.example", "b@x.example"])

    refused = put(org, emails=["c@x.example", "d@x.example"], thresholds=[10])

    assert (refused.status_code, error(refused)["code"]) == (429, "THROTTLED")
    assert set(links()) == {"a@x.example", "b@x.example"}
    assert data(org.get("/api/notifications"))["thresholds"] == [50, 80, 100]
    assert put(org, emails=["a@x.example", "b@x.example"]).status_code == 200


def test_many_organisations_together_do_not_flood_one_address(org: Org, settings: Settings) -> None:
    settings.THROTTLE_LINKS_PER_ADDRESS = "2/day"
    answers = [put(one, emails=[STRANGER]).status_code for one in (org, make_org(), make_org())]
    # As an address is written that leads to the same one: in another width, or with soft hyphens.
    for written in (STRANGER.upper(), "ops@ｓtranger.example", "ops@stran\u00adger.example"):
        changed = make_org()
        by_contact = changed.client.patch(
            "/api/me",
            {"orgId": changed.id, "email": written},
            content_type="application/json",
            headers=changed.headers(),
        )
        assert by_contact.status_code == 429, written

    assert answers == [200, 200, 429]
    assert put(make_org(), emails=[OTHER]).status_code == 200


def test_a_mail_server_that_is_away_gets_the_link_later(org: Org, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "tests.billing.test_notification_addresses.Refusing"
    put(org, emails=[STRANGER])
    tasks.mail_addresses()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

    assert links() == {}
    with time_machine.travel(clock.real_now() + timedelta(minutes=3)):
        assert set(links()) == {STRANGER}
        assert links() == {}


class Refusing:
    """A mail server that takes nothing."""

    def __init__(self, **_: Any) -> None:
        """Take what Django gives."""

    def send_messages(self, messages: Any) -> int:
        """Refuse."""
        raise ConnectionRefusedError


def test_no_row_and_no_log_line_has_the_link(org: Org, caplog: pytest.LogCaptureFixture) -> None:
    put(org, emails=[STRANGER])
    [path] = links().values()
    token = path.rsplit("/", 1)[1]
    press(path)

    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(t::text, '') FROM billing_notificationaddress t")
        assert token not in str(cursor.fetchone())
    for secret in (token, STRANGER):
        assert secret not in caplog.text


def test_whose_reader_never_agreed_is_forgotten_a_month_later(org: Org) -> None:
    put(org, emails=[STRANGER, OTHER])
    press(links()[OTHER])

    assert addresses.forget(now=clock.real_now() + timedelta(days=30)) == 0
    assert addresses.forget(now=clock.real_now() + timedelta(days=32)) == 1
    assert NotificationAddress.objects.get().email == OTHER


def test_those_chosen_before_are_told_as_before(org: Org) -> None:
    put(org)
    NotificationSettings.objects.update(emails=[STRANGER, OTHER, STRANGER])
    make_org()
    migration = import_module("billing.migrations.0026_notification_addresses")

    with connection.cursor() as cursor:
        cursor.execute(migration.KEEP)

    assert pending(org) == []
    assert cross(org) == [OTHER, STRANGER]
    assert links() == {}
