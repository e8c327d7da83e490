"""Every table has pages; who reads and that nobody writes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tests.backoffice.conftest import READERS
from tests.backoffice.rows import PAYLOAD, SECRET, a_row, our_models
from webhooks.models import WebhookEvent

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("one_of_each")]
Staff = Callable[[str], Client]

every_model = pytest.mark.parametrize("model", our_models(), ids=lambda model: model._meta.label)


def page(model: type[Model], name: str, *args: Any) -> str:
    """Return the address of a page."""
    opts = model._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_{name}", args=args)


@every_model
def test_every_table_of_ours_has_a_page(model: type[Model]) -> None:
    assert model in admin.site._registry


@pytest.mark.parametrize("role", READERS)
def test_every_page_is_in_the_sidebar(staff: Staff, role: str) -> None:
    html = staff(role).get("/admin/").content.decode()

    sidebar = html[: html.index('id="main"')]
    assert [model for model in our_models() if page(model, "changelist") not in sidebar] == []


@pytest.mark.parametrize("role", READERS)
def test_every_role_reads_every_list_and_every_row(staff: Staff, role: str) -> None:
    client = staff(role)

    answers = {
        model._meta.label: (
            client.get(page(model, "changelist")).status_code,
            client.get(page(model, "change", a_row(model).pk)).status_code,
        )
        for model in our_models()
    }

    assert set(answers.values()) == {(200, 200)}, answers


@pytest.mark.parametrize("role", READERS)
def test_nobody_adds_changes_or_deletes(staff: Staff, role: str) -> None:
    client = staff(role)

    answers = {
        model._meta.label: (
            client.get(page(model, "add")).status_code,
            client.post(page(model, "add"), {}).status_code,
            client.post(page(model, "change", a_row(model).pk), {}).status_code,
            client.get(page(model, "delete", a_row(model).pk)).status_code,
            client.post(page(model, "delete", a_row(model).pk), {"post": "yes"}).status_code,
        )
        for model in our_models()
    }

    assert set(answers.values()) == {(403, 403, 403, 403, 403)}, answers


#: Lists with acts on many rows at once, for those who may: tests/backoffice/test_acts_stripe.py.
WITH_ACTIONS = {WebhookEvent}


@pytest.mark.parametrize("role", READERS)
def test_no_page_offers_to_change_anything(staff: Staff, role: str) -> None:
    client = staff(role)

    for model in our_models():
        row = client.get(page(model, "change", a_row(model).pk)).content.decode()
        table = client.get(page(model, "changelist")).content.decode()

        for offer in ('name="_save"', 'name="action"', "/add/", f"{a_row(model).pk}/delete/"):
            assert offer not in row.replace("/admin/auth/", ""), (model, offer)
            if offer != 'name="action"' or model not in WITH_ACTIONS:
                assert offer not in table.replace("/admin/auth/", ""), (model, offer)


def test_deleting_many_at_once_is_not_an_action(staff: Staff) -> None:
    event = WebhookEvent.objects.get()

    staff("superuser").post(
        page(WebhookEvent, "changelist"),
        {"action": "delete_selected", "_selected_action": event.pk, "post": "yes"},
    )

    assert WebhookEvent.objects.filter(pk=event.pk).exists()


@every_model
def test_strangers_are_sent_to_the_log_in(client: Client, model: type[Model]) -> None:
    for url in (page(model, "changelist"), page(model, "change", a_row(model).pk)):
        response = client.get(url)

        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/?next=")


def test_staff_without_a_role_see_nothing(db: None, client: Client) -> None:
    client.force_login(User.objects.create(username="new", is_staff=True))

    answers = {client.get(page(model, "changelist")).status_code for model in our_models()}

    assert answers == {403}
    assert "/admin/billing/" not in client.get("/admin/").content.decode()


@every_model
def test_no_page_shows_a_hash_or_what_a_client_sent(staff: Staff, model: type[Model]) -> None:
    client = staff("superuser")

    shown = (
        client.get(page(model, "changelist")).content
        + client.get(page(model, "change", a_row(model).pk)).content
    )

    assert SECRET.encode() not in shown
    assert SECRET.encode().hex().encode() not in shown
    assert b"memory at 0x" not in shown


def test_the_payload_of_a_webhook_is_shown_to_who_may_view_it(staff: Staff) -> None:
    row = staff("auditor").get(page(WebhookEvent, "change", WebhookEvent.objects.get().pk))

    assert PAYLOAD in row.content.decode()
