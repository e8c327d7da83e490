"""Every request the gateway can make is one that today's Stripe accepts.

Each method is called with as much as it takes, against a wire that only records.
What went out is checked against the typed parameters of the installed `stripe`
package: names, nesting, required members, enumerations, types. A parameter that a
future version renames or removes turns the test of that method red.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from billing.sandbox.errors import StripeFault
from billing.sandbox.forms import decode
from billing.sandbox.operations import match
from billing.sandbox.params import checked
from billing.sandbox.routes import unsupported
from billing.stripe_gateway import API_VERSION, Gateway, StripeGateway
from billing.stripe_gateway.transport import Transport

_KEY = {"idempotency_key": "k"}
_ACCOUNT = {"type": "account", "account": "acct_1"}
_ITEM = {
    "id": "si_1",
    "price": {"id": "price_1"},
    "quantity": 1,
    "current_period_end": 20,
    "metadata": {"seat": "a"},
    "discounts": ["di_1", {"id": "di_2"}],
    "tax_rates": [{"id": "txr_1"}],
    "billing_thresholds": {"usage_gte": 5},
}
_FETCHED = {
    "application_fee_percent": 2.5,
    "automatic_tax": {"enabled": True, "disabled_reason": None, "liability": _ACCOUNT},
    "billing_thresholds": {"amount_gte": 5000, "reset_billing_cycle_anchor": False},
    "collection_method": "send_invoice",
    "days_until_due": 30,
    "default_payment_method": "pm_1",
    "default_tax_rates": [{"id": "txr_2"}],
    "description": "as agreed",
    "discounts": ["di_3"],
    "invoice_settings": {
        "account_tax_ids": ["txi_1"],
        "custom_fields": [{"name": "PO", "value": "7"}],
        "description": "thanks",
        "footer": "bye",
        "issuer": _ACCOUNT,
    },
    "metadata": {"org_id": "org_1"},
    "on_behalf_of": "acct_1",
    "transfer_data": {"destination": "acct_1", "amount_percent": 10.0},
    "id": "sub_1",
    "status": "trialing",
    "trial_end": 20,
    "schedule": None,
    "items": {"data": [_ITEM, {**_ITEM, "id": "si_2"}]},
}
_CHANGE = {
    "subscription_id": "sub_1",
    "item_id": "si_1",
    "price_id": "price_1",
    "proration_date": 1,
    "end_trial": True,
    "quantity": 2,
    "further_items": [{"id": "si_2", "deleted": True}],
}
_CHECKOUT = {
    "customer_id": "cus_1",
    "price_id": "price_1",
    "org_id": "org_1",
    "success_url": "https://example.com",
    "cancel_url": "https://example.com",
    "expires_at": 1,
    **_KEY,
}
_SUBSCRIBE = {
    "customer_id": "cus_1",
    "price_id": "price_1",
    "org_id": "org_1",
    "metered_price_ids": ["price_2"],
    "metadata": {"plan_code": "pro"},
    **_KEY,
}

#: Each method with all it can be told; some in more than one way.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("ensure_customer", {"org_id": "org_'1", "email": "a@b.c", "name": "A", **_KEY}),
    (
        "ensure_customer",
        {"org_id": "o", "email": "a@b.c", "name": "A", "customer_id": "cus_1", **_KEY},
    ),
    ("retrieve_customer", {"customer_id": "cus_1"}),
    ("set_default_payment_method", {"customer_id": "cus_1", "payment_method_id": "pm_1", **_KEY}),
    ("attach_payment_method", {"customer_id": "cus_1", "payment_method_id": "pm_1", **_KEY}),
    ("detach_payment_method", {"payment_method_id": "pm_1", **_KEY}),
    ("list_payment_methods", {"customer_id": "cus_1"}),
    ("create_setup_intent", {"customer_id": "cus_1", **_KEY}),
    ("retrieve_setup_intent", {"setup_intent_id": "seti_1"}),
    (
        "confirm_setup_intent",
        {
            "setup_intent_id": "seti_1",
            "payment_method_id": "pm_1",
            "return_url": "https://example.com",
            **_KEY,
        },
    ),
    *[
        ("create_subscription", {**_SUBSCRIBE, "trial_days": 14, "on_missing_payment_method": how})
        for how in ("pause", "cancel", "create_invoice")
    ],
    *[
        ("create_subscription", {**_SUBSCRIBE, "trial_end": 9, "payment_behavior": how})
        for how in (
            "allow_incomplete",
            "default_incomplete",
            "error_if_incomplete",
            "pending_if_incomplete",
        )
    ],
    ("retrieve_subscription", {"subscription_id": "sub_1"}),
    ("list_subscriptions", {"customer_id": "cus_1"}),
    ("list_subscriptions_on", {"price_id": "price_1"}),
    *[
        ("preview_change", {**_CHANGE, "proration": how})
        for how in ("always_invoice", "create_prorations", "none")
    ],
    ("preview_renewal", {"subscription_id": "sub_1"}),
    ("change_subscription", {**_CHANGE, "metadata": {"plan_code": "pro"}, **_KEY}),
    ("set_cancel_at_period_end", {"subscription_id": "sub_1", "cancel": True, **_KEY}),
    (
        "set_subscription_card",
        {"subscription_id": "sub_1", "payment_method_id": "pm_1", **_KEY},
    ),
    ("end_trial", {"subscription_id": "sub_1", **_KEY}),
    ("cancel_subscription", {"subscription_id": "sub_1", "invoice_now": True, "prorate": True}),
    ("resume_subscription", {"subscription_id": "sub_1", **_KEY}),
    ("create_schedule", {"subscription_id": "sub_1", **_KEY}),
    ("set_schedule_card", {"schedule_id": "sub_sched_1", "payment_method_id": "pm_1", **_KEY}),
    ("retrieve_schedule", {"schedule_id": "sub_sched_1"}),
    (
        "schedule_change",
        {
            "subscription": _FETCHED,
            "price_id": "price_2",
            "quantity": 2,
            "item_id": "si_2",
            "further_items": [{"id": "si_1", "deleted": True}, {"price": "price_3"}],
            **_KEY,
        },
    ),
    (
        "schedule_change",
        {"subscription": {**_FETCHED, "schedule": "sub_sched_1"}, "price_id": "price_2", **_KEY},
    ),
    ("release_schedule", {"schedule_id": "sub_sched_1", **_KEY}),
    *[
        (
            "list_invoices",
            {"customer_id": "cus_1", "limit": 5, "starting_after": "in_1", "status": status},
        )
        for status in ("draft", "open", "paid", "uncollectible", "void")
    ],
    ("list_invoices", {"customer_id": "cus_1", "with_payments": True}),
    ("update_customer", {"customer_id": "cus_1", "name": "A", "email": "a@b.co", **_KEY}),
    ("retrieve_invoice", {"invoice_id": "in_1"}),
    ("list_charges_of_invoice", {"invoice_id": "in_1"}),
    ("list_invoices_paid_by", {"payment_intent_id": "pi_1"}),
    ("list_charges", {"customer_id": "cus_1"}),
    ("list_disputes", {"charge_id": "ch_1"}),
    ("retrieve_charge", {"charge_id": "ch_1"}),
    ("retrieve_refund", {"refund_id": "re_1"}),
    ("retrieve_dispute", {"dispute_id": "du_1"}),
    ("retrieve_credit_note", {"credit_note_id": "cn_1"}),
    ("retrieve_invoice_payment", {"invoice_payment_id": "inpay_1"}),
    ("pay_invoice", {"invoice_id": "in_1", "payment_method_id": "pm_1", **_KEY}),
    ("void_invoice", {"invoice_id": "in_1", **_KEY}),
    ("finalize_invoice", {"invoice_id": "in_1", **_KEY}),
    (
        "create_invoice_item",
        {
            "customer_id": "cus_1",
            "invoice_id": "in_1",
            "currency": "usd",
            "unit_amount": "0.05",
            "quantity": 500,
            "description": "500 × api_call",
            "metadata": {"operation": "u"},
            **_KEY,
        },
    ),
    ("list_invoice_items", {"customer_id": "cus_1"}),
    ("list_invoice_items", {"customer_id": "cus_1", "pending": True}),
    (
        "create_invoice",
        {"customer_id": "cus_1", "currency": "usd", "metadata": {"operation": "u"}, **_KEY},
    ),
    ("list_drafts", {"customer_id": "cus_1"}),
    ("create_checkout_session", {**_CHECKOUT, "trial_end": 9, "metadata": {"operation": "u"}}),
    ("create_checkout_session", {**_CHECKOUT, "trial_days": 14, "metered_price_ids": ["price_2"]}),
    ("retrieve_checkout_session", {"session_id": "cs_1"}),
    ("list_open_checkout_sessions", {"customer_id": "cus_1"}),
    ("expire_checkout_session", {"session_id": "cs_1", **_KEY}),
    (
        "create_portal_session",
        {
            "customer_id": "cus_1",
            "return_url": "https://example.com",
            "configuration_id": "bpc_1",
            **_KEY,
        },
    ),
    ("list_portal_configurations", {}),
    ("create_portal_configuration", {"name": "cards", **_KEY}),
    ("find_price", {"lookup_key": "pro"}),
    ("list_prices", {"lookup_keys": ["starter", "pro"]}),
    ("list_all_prices", {"product_id": "prod_1"}),
    ("retrieve_price", {"price_id": "price_1"}),
    (
        "update_price",
        {
            "price_id": "price_1",
            "active": True,
            "lookup_key": "pro",
            "metadata": {"plan_code": "pro"},
            **_KEY,
        },
    ),
    ("retrieve_product", {"product_id": "prod_1"}),
    (
        "update_product",
        {"product_id": "prod_1", "active": True, "metadata": {"plan_code": "pro"}, **_KEY},
    ),
    (
        "create_price",
        {
            "product_id": "prod_1",
            "lookup_key": "pro",
            "amount": "0.05",
            "currency": "usd",
            "interval": "month",
            "meter_id": "mtr_1",
            "metadata": {"plan_code": "pro"},
            **_KEY,
        },
    ),
    ("list_products", {}),
    ("create_product", {"product_id": "prod_1", "name": "Pro", "plan_code": "pro", **_KEY}),
    ("list_meters", {}),
    ("create_meter", {"event_name": "api_call", "display_name": "API calls", **_KEY}),
    (
        "create_meter_event",
        {
            "event_name": "api_call",
            "customer_id": "cus_1",
            "value": 3,
            "identifier": "i",
            "timestamp": 1,
            **_KEY,
        },
    ),
    ("metered_use", {"meter_id": "mtr_1", "customer_id": "cus_1", "start": 60, "end": 120}),
    ("list_events", {"types": ["invoice.paid"], "created_to": 2, "ending_before": "evt_1"}),
    (
        "list_events",
        {
            "types": ["invoice.paid"],
            "created_from": 1,
            "created_to": 2,
            "undelivered_only": True,
            "starting_after": "evt_1",
            "limit": 9,
        },
    ),
    ("retrieve_event", {"event_id": "evt_1"}),
    ("list_webhook_endpoints", {}),
    ("retrieve_account", {}),
    ("server_time", {}),
]
#: Enough of every answer for a method to go on with.
_ANSWER = {
    "id": "x_1",
    "object": "customer",
    "created": 1,
    "data": [],
    "has_more": False,
    "status": "active",
    "current_phase": {"start_date": 1, "end_date": 20},
    "phases": [],
}


@dataclass
class Sent:
    """One recorded request."""

    method: str
    path: str
    form: str
    headers: Mapping[str, str]


@dataclass
class Wire(stripe.HTTPClient):
    """Answers everything and remembers what was asked."""

    sent: list[Sent] = field(default_factory=list)
    name = "recording"

    def __post_init__(self) -> None:
        super().__init__()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Record; answer with a little of everything."""
        path, _, query = url.removeprefix("https://api.stripe.com").partition("?")
        self.sent.append(Sent(method.upper(), path, post_data or query, headers or {}))
        return json.dumps(_ANSWER), 200, {"Date": "Sun, 22 Nov 2026 12:00:00 GMT"}

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def wire() -> Wire:
    """A wire that leads nowhere."""
    return Wire()


@pytest.fixture
def recorded(wire: Wire) -> StripeGateway:
    """A gateway on the recording wire, addressed to the real Stripe."""
    transport = Transport(api_key="sk_test_none", base_url=None)
    transport._client = stripe.StripeClient(
        "sk_test_none", stripe_version=API_VERSION, http_client=wire
    )
    return StripeGateway(transport)


def _public(cls: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(cls, inspect.isfunction) if name[0] != "_"}


def test_every_method_is_tried_with_every_argument() -> None:
    methods = _public(StripeGateway) - {"session", "place"}
    tried: dict[str, set[str]] = {name: set() for name in methods}
    for name, arguments in CALLS:
        tried[name] |= arguments.keys()

    for name in methods:
        takes = inspect.signature(getattr(StripeGateway, name)).parameters.keys() - {"self"}
        assert takes - tried[name] <= {"flow", "payment_behavior", "proration", "interval"}, name
        assert name in {tried_name for tried_name, _ in CALLS}


def test_the_protocol_says_what_the_gateway_does() -> None:
    for name in _public(StripeGateway) | {"session"}:
        ours = inspect.signature(getattr(StripeGateway, name)).parameters
        said = inspect.signature(getattr(Gateway, name)).parameters
        assert list(ours) == list(said), name


@pytest.mark.parametrize(
    ("name", "arguments"), CALLS, ids=[f"{n}-{name}" for n, (name, _) in enumerate(CALLS)]
)
def test_the_installed_package_knows_every_parameter(
    recorded: StripeGateway, wire: Wire, name: str, arguments: dict[str, Any]
) -> None:
    getattr(recorded, name)(**arguments)

    assert wire.sent
    for request in wire.sent:
        found = match(request.method, request.path)
        assert found is not None, f"{request.method} {request.path}: the sandbox lacks it"
        route, _ = found
        try:
            params = checked(decode(request.form), route.typed)
        except StripeFault as refused:
            pytest.fail(f"{request.method} {request.path}: {refused}")
        assert unsupported(params, route.supported) is None, "the sandbox would ignore it"


@pytest.mark.parametrize(("name", "arguments"), CALLS[:1] + CALLS[10:18])
def test_requests_carry_the_pinned_version_and_our_keys(
    recorded: StripeGateway, wire: Wire, name: str, arguments: dict[str, Any]
) -> None:
    getattr(recorded, name)(**arguments)

    for request in wire.sent:
        assert request.headers["Stripe-Version"] == API_VERSION
        if request.method == "POST":
            assert request.headers["Idempotency-Key"].startswith("k")


def test_the_pinned_version_is_the_one_the_package_speaks() -> None:
    assert stripe.api_version == API_VERSION


def test_a_key_has_to_be_usable(recorded: StripeGateway) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        recorded.end_trial(subscription_id="sub_1", idempotency_key="x" * 256)
