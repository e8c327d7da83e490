"""`manage.py stripe_doctor`: each thing that can be wrong at Stripe has its own line."""

import json
import os
from datetime import timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from psycopg import sql
from pytest_django import Settings

from billing import doctor
from billing.models import Plan, PlanAllowance
from billing.payments import PORTAL_NAME
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import API_VERSION, Transport
from config.contract import clock
from config.contract.clients import clients
from tests.billing.doctors import URL, at_stripe, changed, endpoint, faults, new_price, run
from tests.billing.owners import Owner
from tests.contract.state import nothing_written
from tests.sandbox.server import Control, free_port
from tests.support.cast import data
from webhooks import handlers


def test_a_stripe_in_order_has_no_faults(healthy: Control) -> None:
    status, said = run()

    assert (status, said.splitlines()[-1]) == (0, "No faults")
    assert "FAULT" not in said
    for what in ("mode", "key", "clock", "price starter", "price business.api_call.overage"):
        assert f"ok    {what}: " in said


def test_looking_changes_nothing(healthy: Control, owner: Owner) -> None:
    events, objects = len(healthy.events()), healthy.state()["objects"]

    with nothing_written():
        run()

    assert len(healthy.events()) == events
    assert healthy.state()["objects"] == objects


def test_it_is_for_programs_too(healthy: Control) -> None:
    status, said = run("--json")
    healthy.deliver_to(None)
    faulty_status, faulty = run("--json")

    told = json.loads(said)
    assert (status, told["ok"]) == (0, True)
    assert all(one["ok"] for one in told["findings"])
    assert (faulty_status, json.loads(faulty)["ok"]) == (1, False)


def test_on_a_terminal_it_is_a_table(healthy: Control, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    call_command("stripe_doctor", stdout=Terminal())

    assert "┃" in capsys.readouterr().out


def test_it_wants_the_events_that_are_handled() -> None:
    ours = {type_ for type_ in handlers.HANDLERS if not type_.startswith("metergate.")}

    assert ours == doctor.EVENTS


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_key_and_no_secret_is_told(
    healthy: Control, settings: Settings, options: list[str]
) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_canary", "canary-that-is-none"]

    _, said = run(*options)

    assert settings.STRIPE_API_KEY not in said
    assert "canary" not in said


def test_without_an_endpoint_of_ours(healthy: Control) -> None:
    healthy.deliver_to("https://elsewhere.example/hooks")

    assert faults() == {"webhook endpoint": "none with the path /api/webhooks/stripe"}
    assert run()[0] == 1


def test_an_endpoint_that_is_switched_off(healthy: Control) -> None:
    # Stripe does this to an endpoint that failed for days; the sandbox never would.
    schema = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(os.environ["SANDBOX_DATABASE_URL"]) as connection:
        connection.execute(
            sql.SQL(
                'UPDATE {}.objects SET data = data || \'{{"status": "disabled"}}\''
                " WHERE object = 'webhook_endpoint'"
            ).format(sql.Identifier(schema))
        )

    assert faults() == {f"webhook endpoint {URL}": "disabled"}


@pytest.mark.parametrize("version", ["2024-06-20", None])
def test_an_endpoint_of_another_version(healthy: Control, version: str | None) -> None:
    endpoint(**({"api_version": version} if version else {"api_version": None}))

    [(what, found)] = faults().items()

    assert what == f"webhook endpoint {URL}: version"
    assert found == f"{version or 'the account' + chr(39) + 's default'}, not {API_VERSION}"


def test_an_endpoint_that_is_not_told_everything(healthy: Control) -> None:
    endpoint(enabled_events=sorted(doctor.EVENTS - {"invoice.paid", "customer.deleted"}))

    assert faults() == {
        f"webhook endpoint {URL}: events": "missing: customer.deleted, invoice.paid"
    }


def test_an_endpoint_that_is_told_exactly_what_is_handled(healthy: Control) -> None:
    endpoint(enabled_events=sorted(doctor.EVENTS))

    assert faults() == {}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"amount": 9901}, "amount 9900, not 9901"),
        ({"currency": "eur"}, "currency usd, not eur"),
        ({"interval": "year"}, "every 1 month, not every year"),
        ({"stripe_price_id": "price_old"}, "price_old is still sold here"),
    ],
)
def test_a_price_that_is_not_the_plans(
    healthy: Control, values: dict[str, Any], found: str
) -> None:
    with changed(Plan, {"code": "pro"}, **values):
        told = faults()

    assert told == {"price pro": f"price_pro_9900usd_month; {found}"}


@pytest.mark.parametrize("key", ["pro", "business.api_call.overage"])
def test_a_price_that_is_not_there(healthy: Control, key: str) -> None:
    found = clients.stripe.find_price(lookup_key=key)
    at_stripe("prices.update", found["id"], {"active": False})

    assert faults() == {f"price {key}": "no active price has this lookup key"}


def test_a_plans_price_that_counts_use(healthy: Control) -> None:
    [meter] = clients.stripe.list_meters()
    made = new_price("pro", "9900", meter_id=meter["id"])

    assert faults() == {"price pro": f"{made}; metered, not licensed"}


def test_an_overage_price_that_counts_nothing(healthy: Control) -> None:
    made = new_price("business.api_call.overage", "0.05")

    assert faults() == {
        "price business.api_call.overage": (
            f"{made}; licensed, not metered; its meter counts nothing, not api_call"
        )
    }


def test_an_overage_price_that_counts_something_else(healthy: Control) -> None:
    meter = clients.stripe.create_meter(
        event_name="compute_ms", display_name="Compute", idempotency_key="meter"
    )
    made = new_price("business.api_call.overage", "0.05", meter_id=meter["id"])

    assert faults() == {
        "price business.api_call.overage": f"{made}; its meter counts compute_ms, not api_call"
    }


def test_an_overage_price_of_another_amount(healthy: Control) -> None:
    find = {"plan__code": "business", "metric": "api_call"}
    with changed(PlanAllowance, find, overage_unit_amount="0.06"):
        [(what, found)] = faults().items()

    assert what == "price business.api_call.overage"
    assert found.endswith("amount 0.05, not 0.06")


def test_a_plan_that_is_not_on_sale_needs_no_price(healthy: Control) -> None:
    with changed(Plan, {"code": "pro"}, on_sale=False, amount=1):
        assert faults() == {}


def test_a_portal_that_changes_plans_past_us(healthy: Control, owner: Owner) -> None:
    data(owner.post("/api/payments/portal", {"orgId": owner.id}))
    [ours] = clients.stripe.list_portal_configurations()
    assert ours["name"] == PORTAL_NAME
    assert faults() == {}

    features = {
        "subscription_update": {"enabled": True},
        "payment_method_update": {"enabled": False},
    }
    at_stripe("billing_portal.configurations.update", ours["id"], {"features": features})

    assert faults() == {
        "portal": f"{ours['id']}; cards cannot be changed; plans can be changed past us"
    }


@pytest.mark.parametrize(
    ("minutes", "ok"), [(0, True), (0.9, True), (-0.9, True), (2, False), (-2, False)]
)
def test_a_clock_that_is_wrong(healthy: Control, minutes: float, ok: bool) -> None:
    findings = doctor.examine(real_now=lambda: clock.real_now() + timedelta(minutes=minutes))

    [told] = [one for one in findings if one.what == "clock"]
    assert told.ok is ok
    assert "s against Stripe's" in told.detail


@pytest.mark.parametrize(
    ("secrets", "found"),
    [
        ([], "STRIPE_WEBHOOK_SECRETS is empty"),
        (["whsec_a", "oops"], "number 2 does not begin with whsec_"),
    ],
)
def test_secrets_that_are_missing_or_odd(
    healthy: Control, settings: Settings, secrets: list[str], found: str
) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = secrets

    assert faults() == {"webhook secrets": found}


@pytest.mark.parametrize(
    ("mode", "key", "found"),
    [
        ("sandbox", "sk_live_1", "a live key has no business in the sandbox"),
        ("live", "password", "neither a live nor a test key of Stripe's"),
    ],
)
def test_a_key_of_the_wrong_kind(
    healthy: Control, settings: Settings, mode: str, key: str, found: str
) -> None:
    settings.STRIPE_MODE, settings.STRIPE_API_KEY = mode, key

    assert faults()["key's mode"] == found


@pytest.mark.parametrize("mode", ["sandbox", "live"])
def test_a_test_key_is_said_to_be_one(healthy: Control, settings: Settings, mode: str) -> None:
    settings.STRIPE_MODE = mode

    [told] = [one for one in doctor.examine() if one.what == "key's mode"]

    assert (told.ok, told.detail) == (True, "test mode: charges nobody")


def test_prices_of_the_other_mode(healthy: Control, settings: Settings) -> None:
    settings.STRIPE_MODE, settings.STRIPE_API_KEY = "live", "sk_live_1"

    told = faults()

    assert told.keys() == {
        "price starter",
        "price pro",
        "price business",
        "price business.api_call.overage",
    }
    assert all(found.endswith("of the other mode") for found in told.values())


def test_a_key_that_stripe_refuses(healthy: Control) -> None:
    wrong = Transport(api_key="sk_test_of_somebody_else", base_url=healthy.url)
    with clients.swapped("stripe", StripeGateway(wrong)):
        told = faults()

    assert told["key"] == "Stripe refuses the key"
    assert set(told.values()) == {"Stripe refuses the key"}


def test_a_stripe_that_is_away(healthy: Control) -> None:
    nowhere = Transport(api_key="sk_test_dev", base_url=f"http://127.0.0.1:{free_port()}")
    with clients.swapped("stripe", StripeGateway(nowhere)):
        status, said = run()

    assert status == 1
    assert "FAULT key: could not be looked at" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("fault", ["error", "rate_limited", "cut_before"])
def test_one_look_that_fails_does_not_hide_the_others(healthy: Control, fault: str) -> None:
    healthy.fault(fault, path="/v1/prices", count=2)

    told = faults()

    assert told.keys() == {"clock", "prices"}
    assert all(found.startswith("could not be looked at") for found in told.values())
