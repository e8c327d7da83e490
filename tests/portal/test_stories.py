"""An owner in a real browser: with and without scripts, on a desk and on a phone, by keyboard."""

from collections.abc import Iterator
from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from billing.models import Operation
from config.contract import clock
from tests.portal.http import LiveOwner, new_live_owner, watched
from tests.support.accessible import faults, overflow
from tests.support.live import Live

pytestmark = pytest.mark.django_db(transaction=True)

PHONE: ViewportSize = {"width": 375, "height": 740}
DESK: ViewportSize = {"width": 1280, "height": 800}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def _month() -> str:
    return f"{clock.now():%Y-%m}"


@pytest.fixture
def owner(live: Live) -> LiveOwner:
    """Somebody with three weeks of use."""
    return new_live_owner(live)


def open_page(page: Page, owner: LiveOwner) -> None:
    """Follow a new link to the usage page."""
    page.goto(owner.link())
    page.get_by_role("button", name="Open the page").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Northwind Traders")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_an_owner_upgrades_from_the_usage_page_and_sees_the_new_quota(
    scripts: bool, owner: LiveOwner, browser: Browser
) -> None:
    with watched(browser, java_script_enabled=scripts) as (page, noticed):
        open_page(page, owner)
        expect(page.get_by_text("of 10,000")).to_be_visible()
        page.get_by_role("link", name="Upgrade to Pro").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Upgrade to Pro?")

        page.get_by_role("button", name="Upgrade and pay $99.00").click()

        expect(page.get_by_role("status")).to_have_text("Done. You are on the Pro plan now.")
        expect(page.get_by_text("of 100,000")).to_be_visible()
        expect(page.get_by_role("heading", name="Plan Pro")).to_contain_text("Active")
        expect(page.get_by_role("link", name="Change to Starter")).to_be_visible()
    assert noticed == []


def test_an_impatient_owner_clicks_twice_goes_back_and_pays_once(
    owner: LiveOwner, browser: Browser
) -> None:
    with watched(browser) as (page, _):
        page.goto(owner.link())
        page.get_by_role("button", name="Open the page").dblclick()
        page.get_by_role("link", name="Upgrade to Pro").click()

        page.get_by_role("button", name="Upgrade and pay").dblclick()
        page.wait_for_load_state()
        while page.get_by_role("button", name="Try again").is_visible():
            page.get_by_role("button", name="Try again").click()

        expect(page.get_by_text("of 100,000")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text("Northwind Traders")
    upgrades = Operation.objects.filter(kind=Operation.Kind.UPGRADE)
    assert [one.state for one in upgrades] == ["done"]


def test_a_declined_owner_sets_another_card_at_stripe_and_comes_back(
    owner: LiveOwner, browser: Browser
) -> None:
    with watched(browser) as (page, noticed):
        open_page(page, owner)
        _use_card(page, "pm_card_chargeCustomerFail")
        page.get_by_role("link", name="Upgrade to Pro").click()
        page.get_by_role("button", name="Upgrade and pay").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("The payment was declined")

        page.get_by_role("button", name="Change the payment method").click()
        page.get_by_label("Test card").select_option("pm_card_visa")
        page.get_by_role("button", name="Use this card").click()
        page.get_by_role("link", name="Back").click()
        page.get_by_role("link", name="Upgrade to Pro").click()
        page.get_by_role("button", name="Upgrade and pay").click()

        expect(page.get_by_text("of 100,000")).to_be_visible()
    # A page that says no answers 402, and the browser notes that in its console.
    assert [one for one in noticed if "402" not in one] == []


def _use_card(page: Page, card: str) -> None:
    page.get_by_role("button", name="Payment method").click()
    page.get_by_label("Test card").select_option(card)
    page.get_by_role("button", name="Use this card").click()
    page.get_by_role("link", name="Back").click()


def every_page(page: Page, owner: LiveOwner) -> Iterator[str]:
    """Lead the browser to each kind of page, one after the other."""
    base = owner.live.base
    page.goto(owner.link())
    yield "link"
    page.get_by_role("button", name="Open the page").click()
    yield "usage"
    for summary in page.get_by_text("As a table").all():
        summary.click()
    yield "usage with its tables"
    for path in ("plans/pro", "cancel", "statements/1999-01.json", f"statements/{_month()}"):
        page.goto(f"{base}/portal/{path}")
        yield path
    page.goto(f"{base}/portal/plans/business")
    page.get_by_role("button", name="Upgrade and pay").click()
    yield "done"
    for path in ("plans/starter", "gone"):
        page.goto(f"{base}/portal/{path}")
        yield path
    page.goto(f"{base}/portal/usage")
    page.get_by_role("button", name="Close").click()
    yield "closed"
    page.goto(f"{base}/portal/usage")
    yield "over"


def test_every_page_is_accessible_and_fits_light_and_dark_on_a_desk_and_a_phone(
    owner: LiveOwner, browser: Browser
) -> None:
    found = {}

    # A colour on its way from one scheme to the other is nobody's to judge.
    with watched(browser, reduced_motion="reduce") as (page, noticed):
        for name in every_page(page, owner):
            for window, scheme in product((DESK, PHONE), SCHEMES):
                page.set_viewport_size(window)
                page.emulate_media(color_scheme=scheme)
                found[name, scheme, window["width"]] = faults(page) + overflow(page)

    assert len(found) == 4 * 12
    assert {where: wrong for where, wrong in found.items() if wrong} == {}
    # What is refused answers 4xx, and the browser notes that in its console.
    assert [one for one in noticed if not one.startswith("console: Failed to load")] == []


def test_a_page_at_twice_the_text_size_still_fits_a_phone(
    owner: LiveOwner, browser: Browser
) -> None:
    with watched(browser, viewport=PHONE) as (page, _):
        open_page(page, owner)
        page.evaluate("document.documentElement.style.fontSize = '200%'")

        assert overflow(page) == []


def test_everything_is_reached_by_keyboard_and_the_focus_is_seen(
    owner: LiveOwner, browser: Browser
) -> None:
    with watched(browser, viewport=DESK) as (page, _):
        open_page(page, owner)
        controls = page.locator("a[href], button, summary").count()

        met = []
        for _step in range(controls):
            page.keyboard.press("Tab")
            met.append(page.evaluate(FOCUSED))
        while "Upgrade to Pro" not in page.evaluate(FOCUSED)["name"]:
            page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Upgrade to Pro?")

    assert met[0]["name"] == "Skip to the content"
    assert len({one["place"] for one in met}) == controls
    assert [one for one in met if not one["seen"]] == []


FOCUSED = """
() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  return {
    name: one.textContent.trim(),
    place: [...document.querySelectorAll("*")].indexOf(one),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
      && box.top >= 0 && box.left >= 0,
  };
}
"""
