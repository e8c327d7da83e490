"""Checkout and the portal in a real browser: what the customer sees, pays and leaves."""

import json
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.support.cast import data


@pytest.fixture
def at_home(live_server: LiveServer, settings: Settings) -> str:
    """Where the pages lead back to: a server of ours."""
    url = str(live_server.url).replace("localhost", "127.0.0.1")
    settings.PUBLIC_URL = url
    return url


def pays_with(page: Page, card: str, button: str) -> None:
    """Choose a test card and press the button."""
    page.get_by_label("Test card").select_option(card)
    page.get_by_role("button", name=button).click()


def fits(page: Page) -> bool:
    """Tell whether nothing sticks out to the right, of the window or of the card."""
    wide: Any = page.evaluate(
        """() => {
          const right = document.querySelector("main").getBoundingClientRect().right;
          const all = [...document.querySelectorAll("main *")];
          return document.documentElement.scrollWidth <= innerWidth
            && all.every((one) => one.getBoundingClientRect().right <= right);
        }"""
    )
    return bool(wide)


def test_checkout_can_be_left_declined_and_paid(at_home: str, sandbox: Control, page: Page) -> None:
    asked = {"orgName": "Acme", "email": "owner@acme.example", "checkout": True}
    body = json.dumps(asked)
    signed_up = data(Client().post("/api/signup", body, content_type="application/json"))
    page.set_viewport_size({"width": 380, "height": 700})

    page.goto(signed_up["checkoutUrl"])
    expect(page.get_by_role("row", name="Starter")).to_contain_text("$19.00 / month")
    expect(page.get_by_role("row", name="Due today")).to_contain_text("$0.00")
    assert fits(page)
    page.get_by_role("button", name="Back").click()
    expect(page).to_have_url(f"{at_home}/portal/checkout/left")
    expect(page.get_by_role("heading")).to_have_text("Nothing was paid")

    page.goto(signed_up["checkoutUrl"])
    pays_with(page, "pm_card_chargeDeclined", "Subscribe")
    expect(page.get_by_role("alert")).to_contain_text("declined")
    expect(page.get_by_label("Test card")).to_have_value("pm_card_chargeDeclined")
    pays_with(page, "pm_card_visa", "Subscribe")
    expect(page).to_have_url(f"{at_home}/portal/checkout/done")
    expect(page.get_by_role("heading")).to_have_text("You are subscribed")

    [made] = sandbox.objects("subscription")
    assert (made["status"], made["metadata"]["org_id"]) == ("trialing", signed_up["orgId"])


def test_the_portal_takes_a_new_card_and_leads_back(
    at_home: str, sandbox: Control, page: Page
) -> None:
    owner: Owner = new_owner()
    url = data(owner.post("/api/payments/portal", {"orgId": owner.id}))["url"]
    page.set_viewport_size({"width": 380, "height": 700})

    page.goto(url)
    expect(page.get_by_role("row", name="Starter")).to_contain_text("trialing")
    expect(page.get_by_role("row", name="Card on file")).to_contain_text("4242")
    pays_with(page, "pm_card_mastercard", "Use this card")

    expect(page.get_by_role("row", name="Card on file")).to_contain_text("4444")
    assert fits(page)
    page.get_by_role("link", name="Back").click()
    expect(page).to_have_url(f"{at_home}/portal/billing/done")
    expect(page.get_by_role("heading")).to_have_text("All done")
    [customer] = sandbox.objects("customer")
    card = sandbox.show(customer["invoice_settings"]["default_payment_method"])
    assert card["card"]["last4"] == "4444"
