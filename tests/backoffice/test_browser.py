"""The pages for staff in a real browser: nothing from elsewhere, no complaint, readable by all."""

from collections.abc import Iterator
from itertools import product
from typing import Literal
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from tests.backoffice.rows import a_row, fill, org_id, our_models
from tests.backoffice.test_pages import page as address
from tests.portal.http import watched
from tests.support.accessible import faults
from tests.support.length import Length
from tests.support.live import Live

pytestmark = pytest.mark.django_db(transaction=True)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ORGANISATION = f"/admin/organisations/{org_id(0)}/"


@pytest.fixture
def somebody(live: Live) -> Client:
    """A superuser who is logged in, with a row in every table to look at."""
    fill(4)
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def log_in(page: Page, live: Live, client: Client) -> None:
    cookie = client.cookies["sessionid"]
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live.base}])


def pages(*, every: bool) -> Iterator[str]:
    """Yield the addresses of the pages; all of them, or one of each kind."""
    yield from ("/admin/", "/admin/?days=90", ORGANISATION, "/admin/find/", "/admin/acts/")
    yield from ("/admin/auth/user/add/", "/admin/password_change/")
    models = our_models()
    for model in models if every else [models[0], models[-1]]:
        yield address(model, "changelist")
        yield address(model, "change", a_row(model).pk)


@pytest.mark.torture
def test_no_page_loads_anything_from_elsewhere_or_complains(
    live: Live, somebody: Client, browser: Browser, length: Length
) -> None:
    visited = 0
    with watched(browser) as (page, noticed):
        page.goto(f"{live.base}/admin/login/")
        log_in(page, live, somebody)
        for path in pages(every=length.full):
            answer = page.goto(f"{live.base}{path}")
            assert answer is not None
            assert answer.status == 200, path
            # A hint of the browser to who writes forms; the form is Django's.
            assert [one for one in noticed if "[DOM] Input elements" not in one] == [], path
            visited += 1

    assert visited >= (2 * len(our_models()) if length.full else 10)


def test_a_customer_is_found_by_what_she_quotes(
    live: Live, somebody: Client, browser: Browser
) -> None:
    with watched(browser) as (page, noticed):
        log_in(page, live, somebody)
        page.goto(f"{live.base}/admin/")

        box = page.get_by_label("Search by name, e-mail or any id")
        box.fill("owner0@customer.example")
        box.press("Enter")

        expect(page.get_by_role("heading", level=1)).to_have_text("Customer 0")
        assert urlsplit(page.url).path == ORGANISATION
    assert noticed == []


def test_the_charts_are_drawn_and_their_numbers_open_as_a_table(
    live: Live, somebody: Client, browser: Browser
) -> None:
    with watched(browser) as (page, noticed):
        log_in(page, live, somebody)
        page.goto(f"{live.base}/admin/")
        page.wait_for_load_state("load")

        drawn = page.evaluate(
            "() => [...document.querySelectorAll('canvas.chart')]"
            ".map(one => Chart.getChart(one) !== undefined)"
        )
        page.get_by_text("The numbers as a table").first.click()

        assert len(drawn) >= 3
        assert all(drawn)
        expect(page.get_by_role("cell", name="1,234").first).to_be_visible()
        page.get_by_role("link", name="7 days").click()
        expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    assert noticed == []


def test_our_pages_are_readable_in_light_and_dark_on_a_desk_and_a_phone(
    live: Live, somebody: Client, browser: Browser
) -> None:
    found = {}
    with watched(browser, reduced_motion="reduce") as (page, _):
        log_in(page, live, somebody)
        for path, width, scheme in product(
            ("/admin/", ORGANISATION, "/admin/find/"), (1280, 390), SCHEMES
        ):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{live.base}{path}")
            seen = found[path, width, scheme] = faults(page, within="main")
            # Of the window alone: the theme's sidebar keeps a scroll bar out of sight, and
            # wide tables of ours scroll in their card.
            if page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
                seen.append("too wide")

    assert {where: wrong for where, wrong in found.items() if wrong} == {}
