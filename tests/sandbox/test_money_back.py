"""Refunds, disputes and credit notes answer as Stripe's do."""

from typing import Any

import pytest
import stripe

from billing.stripe_gateway import StripeGateway
from tests.sandbox.cast import Subscriber
from tests.sandbox.money import Desk
from tests.sandbox.server import Control


@pytest.fixture
def dashboard(sandbox: Control) -> Desk:
    """Somebody with Stripe's dashboard open."""
    return Desk(sandbox)


@pytest.fixture
def invoice(gateway: StripeGateway) -> dict[str, Any]:
    """A paid invoice of 9900."""
    paid: dict[str, Any] = Subscriber(gateway).subscribe_now("pro")["latest_invoice"]
    return paid


def types(sandbox: Control, object_id: str) -> list[str]:
    return [event["type"] for event in sandbox.events(object_id)]


def test_an_invoice_leads_to_its_charge_and_back(
    invoice: dict[str, Any], gateway: StripeGateway, dashboard: Desk
) -> None:
    charge = dashboard.charge_of(invoice["id"])

    back = gateway.list_invoices_paid_by(payment_intent_id=charge["payment_intent"])

    assert charge["amount"] == invoice["amount_paid"] == 9900
    assert back == [invoice["id"]]


def test_refunds_add_up_and_never_exceed_the_charge(
    invoice: dict[str, Any], sandbox: Control, dashboard: Desk
) -> None:
    first = dashboard.refund(invoice["id"], 4000)
    with pytest.raises(stripe.InvalidRequestError):
        dashboard.refund(invoice["id"], 5901)
    dashboard.refund(invoice["id"])
    charge = dashboard.charge_of(invoice["id"])

    with pytest.raises(stripe.InvalidRequestError) as refused:
        dashboard.refund(invoice["id"], 1)

    assert (charge["amount_refunded"], charge["refunded"]) == (9900, True)
    assert refused.value.code == "charge_already_refunded"
    assert types(sandbox, charge["id"]) == ["charge.refunded"] * 2
    assert types(sandbox, first["id"]) == ["refund.created"]


def test_a_refund_that_the_bank_sends_back_is_no_longer_counted(
    invoice: dict[str, Any], sandbox: Control, dashboard: Desk
) -> None:
    refund = dashboard.refund(invoice["id"])

    failed = sandbox.fail_refund(refund["id"])

    assert failed["status"] == "failed"
    assert dashboard.charge_of(invoice["id"])["amount_refunded"] == 0
    assert "refund.failed" in types(sandbox, refund["id"])


@pytest.mark.parametrize(
    ("evidence", "status", "events"),
    [
        ("winning_evidence", "won", ["closed", "funds_reinstated"]),
        ("losing_evidence", "lost", ["closed"]),
    ],
)
def test_evidence_decides_a_dispute(
    invoice: dict[str, Any],
    sandbox: Control,
    dashboard: Desk,
    evidence: str,
    status: str,
    events: list[str],
) -> None:
    dispute = dashboard.dispute(invoice["id"])
    decided = dashboard.answer(dispute["id"], evidence)

    with pytest.raises(stripe.InvalidRequestError):
        dashboard.answer(dispute["id"], evidence)

    assert dashboard.charge_of(invoice["id"])["disputed"]
    assert decided["status"] == status
    assert types(sandbox, dispute["id"]) == [
        f"charge.dispute.{what}" for what in ("created", "funds_withdrawn", "updated", *events)
    ]


def test_a_credit_note_lowers_what_an_open_invoice_asks_for(
    sandbox: Control, gateway: StripeGateway, dashboard: Desk
) -> None:
    sandbox.fault("card_declined")
    invoice_id = Subscriber(gateway).subscribe("pro")["latest_invoice"]["id"]

    note = dashboard.credit(invoice_id, 900)
    lowered = gateway.retrieve_invoice(invoice_id=invoice_id)
    dashboard.void_credit(note["id"])
    restored = gateway.retrieve_invoice(invoice_id=invoice_id)

    assert (lowered["amount_due"], lowered["pre_payment_credit_notes_amount"]) == (9000, 900)
    assert (restored["amount_due"], restored["pre_payment_credit_notes_amount"]) == (9900, 0)
    assert types(sandbox, note["id"]) == ["credit_note.created", "credit_note.voided"]


def test_a_credit_note_of_a_paid_invoice_says_where_the_money_goes(
    invoice: dict[str, Any], sandbox: Control, gateway: StripeGateway, dashboard: Desk
) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        dashboard.credit(invoice["id"], 1000, refund_amount=400)

    note = dashboard.credit(invoice["id"], 1000, refund_amount=400, credit_amount=600)

    credited = gateway.retrieve_invoice(invoice_id=invoice["id"])
    assert note["refunds"][0]["amount_refunded"] == 400
    assert credited["post_payment_credit_notes_amount"] == 1000
    assert sandbox.show(invoice["customer"])["balance"] == -600
