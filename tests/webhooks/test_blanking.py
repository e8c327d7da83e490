"""What opens a door is not kept: neither in new rows nor in those that were there."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection
from psycopg.types.json import Jsonb

from tests.support.database import superuser
from tests.webhooks.cast import an_event, deliver, encoded, send, signature, work_off
from webhooks import retention, tasks
from webhooks.blanking import BLANK, blanked
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

INTENT = "pi_3OzAbC_secret_k3yOfTheBrowser"
INVOICE_PAGE = "https://invoice.stripe.com/i/acct_1/live_YWNjdF8x"


def stored(event: Any) -> str:
    """Return the whole row of an event as text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT row_to_json(e)::text FROM webhooks_webhookevent e WHERE event_id = %s",
            [event["id"]],
        )
        return str(cursor.fetchone()[0])


SECRETS: dict[str, dict[str, Any]] = {
    "the secret of a payment": {"client_secret": INTENT},
    "a secret in an expanded object": {
        "latest_invoice": {"payment_intent": {"client_secret": INTENT}}
    },
    "a confirmation's secret": {"confirmation_secret": {"client_secret": INTENT, "type": "x"}},
    "a hosted invoice": {"hosted_invoice_url": INVOICE_PAGE},
    "its PDF": {"invoice_pdf": INVOICE_PAGE},
    "a portal": {"url": "https://billing.stripe.com/p/session/live_Z"},
    "a receipt": {"charges": {"data": [{"receipt_url": INVOICE_PAGE}]}},
    "where a bank asks": {"next_action": {"redirect_to_url": {"url": INVOICE_PAGE}}},
    "a picture of a code to pay": {"qr": {"image_url_png": INVOICE_PAGE}},
    "an app of a bank": {"next_action": {"open": "swish://paymentrequest?token=Abc"}},
    "an endpoint's secret": {"secret": "whsec_Abc123"},
    "an ephemeral key": {"key": "ek_live_Abc123"},
    "an address inside a text": {"description": f"Pay at {INVOICE_PAGE} today"},
    "a secret in metadata": {"metadata": {"intent": INTENT}},
    "a document in a text": {"metadata": {"raw": json.dumps({"client_secret": INTENT})}},
    "the name of a field": {"metadata": {INVOICE_PAGE: "page"}},
    "a secret that is a number": {"cvc": 123456},
    "secrets in a list": {"secrets": ["Zfirst", {"secret": "Zsecond"}]},
}
PARTS = [
    "k3yOfTheBrowser",
    "live_",
    "whsec_A",
    "Abc",
    "123456",
    "Zfirst",
    "Zsecond",
    "invoice.stripe.com",
]


@pytest.mark.parametrize("about", SECRETS.values(), ids=list(SECRETS))
def test_what_opens_a_door_is_not_in_the_row(about: dict[str, Any]) -> None:
    event = an_event("invoice.paid", about={"id": "in_1", **about})

    deliver(event)

    row = stored(event)
    assert [part for part in PARTS if part in row] == []
    assert BLANK in row


def test_what_it_was_before_is_blanked_too() -> None:
    event = an_event("invoice.updated", about={"id": "in_1"})
    event["data"]["previous_attributes"] = {"hosted_invoice_url": INVOICE_PAGE}

    deliver(event)

    assert "invoice.stripe.com" not in stored(event)


def test_what_is_no_event_is_blanked_too() -> None:
    body = encoded({"object": "charge", "client_secret": INTENT})

    assert send(body, signature(body)).status_code == 202

    assert WebhookEvent.objects.get().payload == {"object": "charge", "client_secret": BLANK}


def test_the_facts_stay() -> None:
    about = {
        "id": "in_1",
        "object": "invoice",
        "total": 1900,
        "client_secret": None,
        "hosted_invoice_url": None,
        "description": "Starter: 10:30, 1/2 month",
        "period": {"start": 1, "end": 2},
        "lines": {"object": "list", "data": [], "url": "/v1/invoices/in_1/lines"},
        "payment_settings": {"payment_method_types": ["card", "link"]},
        "number": "A-0001",
        "paid": True,
        "last4": "4242",
    }
    event = an_event("invoice.paid", about=about)

    deliver(event)

    assert WebhookEvent.objects.get().payload == event


def test_a_blanked_document_is_left_as_it_is() -> None:
    once = blanked([SECRETS, {"url": "/v1/x"}])

    assert blanked(once) == once
    assert not [part for part in PARTS if part in json.dumps(once)]


def plant(payload: Any, *, number: int = 1) -> None:
    """Store a row as versions before the blanking did."""
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(
            "INSERT INTO webhooks_webhookevent (event_id, type, object_id, org_id, api_version,"
            " payload, correlation_id, state, refused, attempts, due_at, error, created_at,"
            " received_at) VALUES (%s, 'invoice.paid', 'in_1', '', '', %s, '', 'ignored', '', 0,"
            " now(), '', now(), now())",
            [f"evt_{number}", Jsonb(payload)],
        )


def as_owner(run: Any) -> None:
    """Run something on the connection as the role that migrates."""
    usual = connection.settings_dict["USER"]
    connection.close()
    connection.settings_dict["USER"] = "metergate_owner"
    try:
        run()
    finally:
        connection.close()
        connection.settings_dict["USER"] = usual


def test_rows_that_were_there_are_blanked_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [{"n": n, "data": {"object": {"client_secret": INTENT}}} for n in range(5)]
    for number, document in enumerate(documents):
        plant(document, number=number)
    plant({"n": 5, "data": {"object": {"id": "in_1"}}}, number=5)
    plant(None, number=6)
    monkeypatch.setattr(retention, "_AT_ONCE", 2)

    as_owner(lambda: call_command("blank_inbox"))

    rows = list(WebhookEvent.objects.order_by("pk").values_list("payload", flat=True))
    assert rows[:5] == [{"n": n, "data": {"object": {"client_secret": BLANK}}} for n in range(5)]
    assert rows[5:] == [{"n": 5, "data": {"object": {"id": "in_1"}}}, None]


def test_the_application_cannot_rewrite_what_an_event_said() -> None:
    deliver(an_event("invoice.paid", about={"id": "in_1"}))

    for change in ({"payload": {"x": 1}}, {"payload": None}, {"event_id": "evt_other"}):
        with pytest.raises(ProgrammingError, match="permission denied"):
            WebhookEvent.objects.update(**change)
    with pytest.raises(ProgrammingError, match="permission denied"):
        WebhookEvent.objects.all().delete()


def test_the_application_drops_only_what_is_settled_and_nothing_else() -> None:
    waiting, settled = (
        an_event("invoice.paid", about={"id": "in_1"}),
        an_event("payment_method.attached"),
    )
    deliver(waiting)
    deliver(settled)
    pks = list(WebhookEvent.objects.values_list("pk", flat=True))

    with connection.cursor() as cursor:
        cursor.execute("SELECT webhooks_forget_payloads(%s::bigint[])", [pks])
        forgotten = cursor.fetchone()

    said = dict(WebhookEvent.objects.values_list("event_id", "payload"))
    assert forgotten == (1,)
    assert (said[waiting["id"]], said[settled["id"]]) == (waiting, None)
    assert (tasks.forget_payloads(), work_off()) == (None, 1)
