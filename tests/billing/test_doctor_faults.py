"""`manage.py stripe_doctor` names what makes Stripe charge or tell otherwise than it should."""

from typing import Any

import pytest
from pytest_django import Settings

from billing import doctor
from billing.models import PlanAllowance
from config.contract.clients import clients
from tests.billing.catalogues import sync
from tests.billing.doctors import URL, at_stripe, changed, endpoint, faults, new_price
from tests.billing.owners import Owner
from tests.sandbox.server import Control
from tests.support.cast import data

_ALL = {"enabled_events": ["*"]}
_CARDS = {"payment_method_update": {"enabled": True}}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://old.example/api/webhooks/stripe", "on another host, not 127.0.0.1:8000"),
        ("http://127.0.0.1:9000/api/webhooks/stripe", "on another host, not 127.0.0.1:8000"),
        (
            "http://old.example/api/webhooks/stripe/",
            "on another host, not 127.0.0.1:8000; over http, not https",
        ),
    ],
)
def test_an_endpoint_elsewhere_is_named(
    healthy: Control, settings: Settings, url: str, found: str
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    endpoint(url=url)

    assert faults() == {f"webhook endpoint {url}: address": found}


def test_an_endpoint_over_http_is_named_on_our_own_host_too(
    healthy: Control, settings: Settings
) -> None:
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = "https://mg.example", ["hooks.mg.example"]
    healthy.deliver_to("https://mg.example/api/webhooks/stripe")
    endpoint(url="https://hooks.mg.example/api/webhooks/stripe")
    assert faults() == {}

    endpoint(url="http://mg.example/api/webhooks/stripe")

    what = "webhook endpoint http://mg.example/api/webhooks/stripe: address"
    assert faults()[what].endswith("over http, not https")


def test_an_archived_product_is_named(healthy: Control) -> None:
    at_stripe("products.update", "prod_business", {"active": False})

    told = faults()

    assert told.keys() == {"price business", "price business.api_call.overage"}
    assert all(one.endswith("; its product prod_business is archived") for one in told.values())


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (
            {
                "billing_scheme": "tiered",
                "tiers_mode": "graduated",
                "tiers": [{"up_to": "inf", "unit_amount": 9900}],
            },
            "tiered, not per unit",
        ),
        (
            {"unit_amount": 9900, "transform_quantity": {"divide_by": 10, "round": "up"}},
            "transform_quantity: each 10 units are one",
        ),
        ({"unit_amount": 9900, "tax_behavior": "inclusive"}, "tax behaviour inclusive"),
        ({"unit_amount": 9900, "tax_behavior": "exclusive"}, "tax behaviour exclusive"),
    ],
)
def test_a_price_that_charges_otherwise_than_per_unit_is_named(
    healthy: Control, given: dict[str, Any], found: str
) -> None:
    made = at_stripe(
        "prices.create",
        {
            "product": "prod_pro",
            "currency": "usd",
            "recurring": {"interval": "month"},
            "lookup_key": "pro",
            "transfer_lookup_key": True,
            **given,
        },
    )

    told = faults()

    assert list(told) == ["price pro"]
    assert told["price pro"].startswith(f"{made['id']}; {found}")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"default_aggregation": {"formula": "count"}}, "aggregates by count, not by sum"),
        (
            {"customer_mapping": {"type": "by_id", "event_payload_key": "customer"}},
            "reads the customer from customer, not stripe_customer_id",
        ),
        ({"value_settings": {"event_payload_key": "units"}}, "reads the value from units"),
    ],
)
def test_a_meter_that_counts_or_reads_otherwise_is_named(
    healthy: Control, given: dict[str, Any], found: str
) -> None:
    made = at_stripe(
        "billing.meters.create",
        {
            "event_name": "compute_ms",
            "display_name": "Compute",
            "default_aggregation": {"formula": "sum"},
            **given,
        },
    )
    key = "business.compute_ms.overage"
    new_price(key, "0.05", meter_id=made["id"])
    compute = {"plan__code": "business", "metric": "compute_ms"}
    with changed(PlanAllowance, compute, overage="allow", overage_unit_amount="0.05"):
        told = faults()

    assert list(told) == ["meter compute_ms"]
    assert told["meter compute_ms"].startswith(found)


@pytest.mark.parametrize(
    ("feature", "found"),
    [
        ("subscription_cancel", "subscriptions can be cancelled past us"),
        ("subscription_update", "plans can be changed past us"),
    ],
)
def test_a_portal_that_does_more_than_cards_is_named(
    healthy: Control, owner: Owner, feature: str, found: str
) -> None:
    data(owner.post("/api/payments/portal", {"orgId": owner.id}))
    [ours] = clients.stripe.list_portal_configurations()
    at_stripe(
        "billing_portal.configurations.update",
        ours["id"],
        {"features": {feature: {"enabled": True}}},
    )

    assert faults() == {"portal": f"{ours['id']}; {found}"}


def test_a_portal_of_stripes_own_is_named_where_customers_reach_it(healthy: Control) -> None:
    cancels = {"subscription_cancel": {"enabled": True}}
    made = at_stripe("billing_portal.configurations.create", {"features": cancels})
    assert faults() == {}

    at_stripe("billing_portal.configurations.update", made["id"], {"login_page": {"enabled": True}})

    assert faults() == {
        "portal's login page": f"{made['id']}; subscriptions can be cancelled past us"
    }


def test_a_publishable_key_is_named(healthy: Control, settings: Settings) -> None:
    settings.STRIPE_API_KEY = "pk_test_of_a_browser"

    told = faults()

    assert told["key's mode"].startswith("a publishable key")
    assert not any("of_a_browser" in one for one in told.values())


def test_a_key_of_another_account_is_named(healthy: Control, settings: Settings) -> None:
    settings.STRIPE_ACCOUNT = "acct_sandbox"
    assert faults() == {}

    settings.STRIPE_ACCOUNT = "acct_ours"

    assert faults() == {"account": "the key is of acct_sandbox, not of acct_ours"}


def test_more_than_a_page_of_everything_hides_nothing(healthy: Control, owner: Owner) -> None:
    data(owner.post("/api/payments/portal", {"orgId": owner.id}))
    for number in range(101):
        at_stripe("products.create", {"name": f"Other {number}"})
        at_stripe("webhook_endpoints.create", {"url": f"https://x.example/{number}", **_ALL})
        at_stripe(
            "billing.meters.create",
            {
                "event_name": f"other_{number}",
                "display_name": "Other",
                "default_aggregation": {"formula": "sum"},
            },
        )
        at_stripe("billing_portal.configurations.create", {"features": _CARDS})

    findings = {one.what: one for one in doctor.examine()}

    assert all(one.ok for one in findings.values())
    assert f"webhook endpoint {URL}" in findings
    assert findings["portal"].detail.startswith("bpc_")
    assert sync(None, "--stripe", "--dry-run")[-1] == "Stripe: 0 to make"
