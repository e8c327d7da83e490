"""Money that goes back: refunds, disputes and credit notes reach the invoice they are about."""

import random
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from billing import invoices
from billing.models import InvoiceRef, Organization
from billing.portal import documents
from billing.stripe_gateway import StripeGateway
from config.backoffice.dashboard.lights import State, lights
from config.backoffice.organisation.timeline import timeline
from config.contract import clock
from quotas.models import Entitlement
from tests.sandbox.money import Desk
from tests.sandbox.server import Control
from tests.support.cast import Org
from tests.webhooks.cast import deliver, sign_up, work_off
from webhooks.handlers import HANDLERS
from webhooks.models import WebhookEvent
from webhooks.reconciliation import reconcile

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dashboard(sandbox: Control) -> Desk:
    """Somebody with Stripe's dashboard open."""
    return Desk(sandbox)


@pytest.fixture
def owner(sandbox: Control) -> Org:
    """An organisation that paid 9900 for pro; every event so far was worked on."""
    owner = sign_up()
    upgraded = owner.post("/api/plans/upgrade", {"orgId": owner.id, "newPlanCode": "pro"})
    assert upgraded.status_code == 200, upgraded.content
    hear(sandbox)
    return owner


@pytest.fixture
def ref(owner: Org) -> InvoiceRef:
    """The invoice that was paid."""
    return InvoiceRef.objects.get(org_id=owner.id, total=9900)


def hear(sandbox: Control, *types: str, since: int = 0) -> list[Any]:
    """Deliver the events of these types (all, without any) and work them off."""
    events = [one for one in sandbox.events()[since:] if not types or one["type"] in types]
    for event in events:
        deliver({**event, "id": f"{event['id']}_{random.random()}"})  # noqa: S311 - no secret
    work_off()
    failed = WebhookEvent.objects.exclude(error="").values_list("type", "error")
    assert not failed, list(failed)
    return events


def light() -> Any:
    [found] = [one for one in lights(now=clock.now()) if one.name == "Disputes and refunds"]
    return found


@pytest.mark.parametrize("type_", ["charge.refunded", "refund.created"])
def test_any_one_event_of_a_refund_is_enough_to_know_of_it(
    ref: InvoiceRef, sandbox: Control, dashboard: Desk, type_: str
) -> None:
    dashboard.refund(ref.stripe_invoice_id, 4000)

    assert hear(sandbox, type_)

    ref.refresh_from_db()
    assert (ref.amount_paid, ref.amount_refunded, ref.status) == (9900, 4000, "paid")


def test_refunds_add_up_and_the_owner_sees_them(
    owner: Org, ref: InvoiceRef, sandbox: Control, dashboard: Desk
) -> None:
    dashboard.refund(ref.stripe_invoice_id, 4000)
    hear(sandbox, "charge.refunded")
    partly = [one for one in documents.invoices(owner.id) if one.amount == "$99.00"]
    dashboard.refund(ref.stripe_invoice_id)
    hear(sandbox, "refund.created")

    [row] = [one for one in documents.invoices(owner.id) if one.amount == "$99.00"]
    assert [(one.status, one.note) for one in partly] == [("Paid", "$40.00 refunded")]
    assert (row.status, row.note) == ("Refunded", "$99.00 refunded")
    assert any("refunded" in entry.sentence for entry in timeline(owner.id))


def test_a_refund_takes_no_access_away(
    owner: Org, ref: InvoiceRef, sandbox: Control, dashboard: Desk
) -> None:
    dashboard.refund(ref.stripe_invoice_id)
    hear(sandbox, "charge.refunded")

    assert Entitlement.objects.get(org_id=owner.id).status == "active"
    assert owner.check().status_code == 200


def test_a_refund_that_came_back_is_no_refund_and_staff_are_told(
    owner: Org, ref: InvoiceRef, sandbox: Control, dashboard: Desk
) -> None:
    refund = dashboard.refund(ref.stripe_invoice_id)
    hear(sandbox, "charge.refunded")
    assert light().state == State.GOOD
    sandbox.fail_refund(refund["id"])

    hear(sandbox, "refund.failed")
    hear(sandbox, "charge.refunded")

    ref.refresh_from_db()
    assert ref.amount_refunded == 0
    assert ref.refund_failed_at is not None
    assert light().state == State.LOOK


@pytest.mark.parametrize(
    ("evidence", "status", "state"),
    [("", "needs_response", State.BAD), ("winning_evidence", "won", State.GOOD)],
)
def test_a_dispute_is_for_staff_to_answer(
    ref: InvoiceRef,
    sandbox: Control,
    dashboard: Desk,
    evidence: str,
    status: str,
    state: State,
) -> None:
    dispute = dashboard.dispute(ref.stripe_invoice_id, amount=5000)
    if evidence:
        dashboard.answer(dispute["id"], evidence)

    hear(sandbox, "charge.dispute.created")

    ref.refresh_from_db()
    assert (ref.amount_disputed, ref.dispute_status) == (5000, status)
    assert light().state == state


def test_the_page_of_the_organisation_says_that_a_payment_is_disputed(
    owner: Org,
    ref: InvoiceRef,
    sandbox: Control,
    dashboard: Desk,
    admin_client: Client,
) -> None:
    before = admin_client.get(f"/admin/organisations/{owner.id}/").content.decode()
    dashboard.dispute(ref.stripe_invoice_id)
    hear(sandbox, "charge.dispute.created")

    page = admin_client.get(f"/admin/organisations/{owner.id}/").content.decode()

    assert "Payment disputed" not in before
    assert "Payment disputed" in page
    assert "needs response" in page
    listed = admin_client.get("/admin/billing/invoiceref/?dispute=waits").content.decode()
    assert ref.stripe_invoice_id in listed


def test_of_two_disputes_the_one_that_waits_for_an_answer_is_shown(
    ref: InvoiceRef, sandbox: Control, dashboard: Desk
) -> None:
    first = dashboard.dispute(ref.stripe_invoice_id, amount=1000)
    dashboard.answer(first["id"], "losing_evidence")
    dashboard.dispute(ref.stripe_invoice_id, amount=2000)

    hear(sandbox, "charge.dispute.created")

    ref.refresh_from_db()
    assert (ref.amount_disputed, ref.dispute_status) == (3000, "needs_response")


def test_credit_notes_lower_what_is_owed_and_say_so(
    owner: Org, ref: InvoiceRef, sandbox: Control, dashboard: Desk
) -> None:
    dashboard.credit(ref.stripe_invoice_id, 1500, refund_amount=500, credit_amount=1000)

    hear(sandbox, "credit_note.created")

    ref.refresh_from_db()
    assert (ref.amount_credited, ref.amount_refunded) == (1500, 500)


def test_a_voided_credit_note_counts_no_more(owner: Org, sandbox: Control, dashboard: Desk) -> None:
    sandbox.fault("card_declined", count=-1)
    sandbox.travel(days=32)
    hear(sandbox)
    ref = InvoiceRef.objects.get(org_id=owner.id, status="open")
    note = dashboard.credit(ref.stripe_invoice_id, 900)
    hear(sandbox, "credit_note.created")
    ref.refresh_from_db()
    lowered = (ref.amount_credited, ref.amount_due)
    dashboard.void_credit(note["id"])

    hear(sandbox, "credit_note.voided")

    ref.refresh_from_db()
    assert lowered == (900, 9000)
    assert (ref.amount_credited, ref.amount_due) == (0, 9900)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_the_events_of_money_that_went_back_ends_where_stripe_is(
    ref: InvoiceRef, sandbox: Control, dashboard: Desk, seed: int
) -> None:
    order = random.Random(seed)  # noqa: S311 - no secret
    since = len(sandbox.events())
    refund = dashboard.refund(ref.stripe_invoice_id, 3000)
    dashboard.refund(ref.stripe_invoice_id, 1000)
    sandbox.fail_refund(refund["id"])
    dispute = dashboard.dispute(ref.stripe_invoice_id, amount=2500)
    dashboard.credit(ref.stripe_invoice_id, 700, refund_amount=700)
    dashboard.answer(dispute["id"], "losing_evidence")
    events = [one for one in sandbox.events()[since:] if one["type"] in HANDLERS]
    order.shuffle(events)

    for event in events[: order.randint(1, len(events))]:
        deliver(event)
        if order.random() < 0.5:
            work_off()
    deliver(events[-1])
    work_off()

    ref.refresh_from_db()
    assert (ref.amount_refunded, ref.amount_credited) == (1700, 700)
    assert (ref.amount_disputed, ref.dispute_status) == (2500, "lost")


def test_a_fetch_that_arrives_late_does_not_undo_a_refund(ref: InvoiceRef, dashboard: Desk) -> None:
    early = invoices.fetch(ref.stripe_invoice_id)
    dashboard.refund(ref.stripe_invoice_id)
    late = invoices.fetch(ref.stripe_invoice_id)

    write(late)
    write(early)

    ref.refresh_from_db()
    assert ref.amount_refunded == 9900


def write(fetched: invoices.FetchedInvoice) -> None:
    with transaction.atomic():
        invoices.apply(fetched)


def test_reconciling_finds_a_refund_that_no_event_told_of(
    owner: Org, ref: InvoiceRef, sandbox: Control, dashboard: Desk
) -> None:
    organization = Organization.objects.get(org_id=owner.id)
    assert reconcile(organization, repair=False) == []
    dashboard.refund(ref.stripe_invoice_id, 4000)
    dashboard.dispute(ref.stripe_invoice_id, amount=1000)

    [finding] = reconcile(organization, repair=True)

    ref.refresh_from_db()
    assert (finding.kind, finding.repaired) == ("invoice_differs", True)
    assert (ref.amount_refunded, ref.amount_disputed) == (4000, 1000)


def test_a_charge_that_no_invoice_names_changes_nothing_and_parks_nothing(
    owner: Org, sandbox: Control, gateway: StripeGateway
) -> None:
    event = {
        "id": "evt_of_nothing",
        "object": "event",
        "type": "charge.refunded",
        "api_version": "2026-10-28.endive",
        "created": 1,
        "livemode": False,
        "data": {"object": {"id": "ch_gone", "object": "charge"}},
    }

    deliver(event)
    work_off()

    assert WebhookEvent.objects.get(event_id="evt_of_nothing").state == "processed"
