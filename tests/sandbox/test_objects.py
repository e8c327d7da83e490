"""Every object the sandbox can show has the fields of today's Stripe, and only those."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from billing.sandbox.shapes import _BLANKS
from billing.stripe_gateway import CardDeclined, StripeGateway
from tests.sandbox.cast import Subscriber
from tests.sandbox.dashboard import Dashboard
from tests.sandbox.money import Desk
from tests.sandbox.server import DAY, Control
from tests.sandbox.shapes import faults_of

SPEC = Path(__file__).resolve().parents[3] / "shared" / "stripe" / "spec3.min.json"
#: Kinds that only ever stand inside another object, or that have no id.
_INSIDE = {"subscription_item", "line_item", "credit_note_line_item"}


@pytest.fixture
def everything(sandbox: Control, gateway: StripeGateway) -> list[dict[str, Any]]:
    """All objects after a life in which nearly everything happened once."""
    subscriber = Subscriber(gateway)
    made = subscriber.subscribe("starter", trial_days=14)
    found = [made, subscriber.preview(made, "pro", end_trial=True)]
    found.append(subscriber.change(made, "pro", end_trial=True))
    sandbox.advance(days=5)
    subscriber.change(made, "business", proration="create_prorations")
    found.append(gateway.preview_renewal(subscription_id=made["id"]))
    attached = gateway.retrieve_subscription(subscription_id=made["id"])
    gateway.schedule_change(
        subscription=attached, price_id=subscriber.price("starter"), idempotency_key="s"
    )
    found.append(
        gateway.create_meter_event(
            event_name="api_call",
            customer_id=subscriber.customer_id,
            value=3,
            identifier="m",
            timestamp=sandbox.now(),
            idempotency_key="m",
        )
    )
    sandbox.advance(days=70)
    sandbox.fault("card_declined", count=-1)
    sandbox.advance(days=60)
    sandbox.clear_faults()
    incomplete = Subscriber(gateway).subscribe("pro")
    pending = Subscriber(gateway)
    held = pending.subscribe_now("starter")
    sandbox.fault("card_declined")
    found.append(pending.change(held, "pro", payment_behavior="pending_if_incomplete"))
    gateway.void_invoice(invoice_id=incomplete["latest_invoice"]["id"], idempotency_key="v")
    found += _billed_beside(gateway, pending)
    found.append(gateway.retrieve_account())
    _on_terms(sandbox, gateway)
    _money_back(sandbox, held["latest_invoice"])
    _sessions(sandbox, gateway, subscriber)
    sandbox.settings(auto_card=False)
    paused = Subscriber(gateway)
    found.append(paused.subscribe("starter", trial_days=3))
    sandbox.advance(days=4)
    with pytest.raises(CardDeclined):
        gateway.resume_subscription(subscription_id=found[-1]["id"], idempotency_key="r")
    return found + sandbox.objects()


def _money_back(sandbox: Control, invoice: dict[str, Any]) -> None:
    desk = Desk(sandbox)
    sandbox.fail_refund(desk.refund(invoice["id"], 100)["id"])
    desk.credit(invoice["id"], 100, refund_amount=100)
    desk.answer(desk.dispute(invoice["id"])["id"], "winning_evidence")


def _billed_beside(gateway: StripeGateway, subscriber: Subscriber) -> list[dict[str, Any]]:
    draft = gateway.create_invoice(
        customer_id=subscriber.customer_id,
        currency="usd",
        metadata={"operation": "o"},
        idempotency_key="in",
    )
    item = gateway.create_invoice_item(
        customer_id=subscriber.customer_id,
        invoice_id=draft["id"],
        currency="usd",
        unit_amount="0.05",
        quantity=12_345,
        description="12345 × api_call",
        metadata={"operation": "o"},
        idempotency_key="ii",
    )
    invoice = gateway.finalize_invoice(invoice_id=draft["id"], idempotency_key="fin")
    assert (item["amount"], invoice["total"]) == (617, 617)
    return [item, invoice]


def _on_terms(sandbox: Control, gateway: StripeGateway) -> None:
    staff, subscriber = Dashboard(gateway), Subscriber(gateway)
    made = subscriber.subscribe_now("pro")
    code = staff.promotion_code(staff.coupon(percent_off=10, duration="forever"))
    staff.edit(
        made["id"],
        discounts=[{"promotion_code": code["id"]}, {"coupon": staff.coupon(amount_off=50)}],
        default_tax_rates=[staff.tax_rate(19)],
        invoice_settings={"footer": "bye"},
        billing_thresholds={"amount_gte": 500000},
        transfer_data={"destination": "acct_1"},
        collection_method="send_invoice",
        days_until_due=30,
        pause_collection={"behavior": "void", "resumes_at": sandbox.now() + 40 * DAY},
        items=[
            {
                "id": made["items"]["data"][0]["id"],
                "discounts": [{"coupon": staff.coupon(percent_off=1)}],
                "tax_rates": [staff.tax_rate(7, inclusive=True)],
            }
        ],
    )
    gateway.schedule_change(
        subscription=gateway.retrieve_subscription(subscription_id=made["id"]),
        price_id=subscriber.price("starter"),
        idempotency_key="t",
    )
    sandbox.advance(days=65)


def _sessions(sandbox: Control, gateway: StripeGateway, subscriber: Subscriber) -> None:
    session = gateway.create_checkout_session(
        customer_id=subscriber.customer_id,
        price_id=subscriber.price("starter"),
        org_id=subscriber.org_id,
        success_url="http://localhost/",
        cancel_url="http://localhost/",
        idempotency_key="cs",
        trial_end=sandbox.now() + 14 * DAY,
    )
    sandbox.page(session["url"], action="pay", card="pm_card_visa")
    configuration = gateway.create_portal_configuration(name="cards", idempotency_key="pc")
    gateway.create_portal_session(
        customer_id=subscriber.customer_id,
        return_url="http://localhost/",
        configuration_id=configuration["id"],
        idempotency_key="ps",
    )
    intent = gateway.create_setup_intent(customer_id=subscriber.customer_id, idempotency_key="si")
    gateway.confirm_setup_intent(
        setup_intent_id=intent["id"],
        payment_method_id="pm_card_authenticationRequired",
        return_url="http://localhost/",
        idempotency_key="sc",
    )


def test_every_object_has_the_fields_of_the_installed_resources(
    everything: list[dict[str, Any]],
) -> None:
    faults = {fault for obj in everything for fault in faults_of(obj)}
    inside = {
        fault
        for obj in everything
        if obj["object"] == "event"
        for fault in faults_of(obj["data"]["object"])
    }

    kinds = {obj["object"] for obj in everything}
    assert _BLANKS.keys() - kinds <= _INSIDE
    assert not faults | inside, "\n".join(sorted(faults | inside))


@pytest.mark.skipif(not SPEC.exists(), reason="the published schemas are not here")
def test_every_object_passes_the_published_schema(everything: list[dict[str, Any]]) -> None:
    validators = import_module("jsonschema")
    spec = _plain(json.loads(SPEC.read_text(encoding="utf-8")))
    schemas = spec["components"]["schemas"]
    faults = set()
    for obj in everything:
        if obj["object"] not in schemas or obj.get("deleted"):
            continue
        validator = validators.Draft4Validator(
            {**spec, "$ref": f"#/components/schemas/{obj['object']}"}
        )
        for error in validator.iter_errors(obj):
            path = ".".join(str(part) for part in error.absolute_path)
            faults.add(f"{obj['object']}.{path}: {error.message[:200]}")

    assert sorted(faults) == []


def _plain(schema: Any) -> Any:
    """Turn OpenAPI's `nullable` into JSON Schema's, and drop formats it does not know."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _plain(value) for name, value in schema.items() if name != "format"}
    if schema.get("nullable") is True:
        found.pop("nullable")
        return {"anyOf": [found, {"type": "null"}]}
    return found
