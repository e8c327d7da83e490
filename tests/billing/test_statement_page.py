"""The statement as a page to print: the same numbers, one file, nothing loaded."""

import re
from datetime import timedelta
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from playwright.sync_api import Browser
from pytest_django.live_server_helper import LiveServer

from billing.models import InvoiceRef, Organization
from config.contract import clock
from quotas import corrections
from quotas.models import Entitlement
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.accessible import faults
from tests.support.cast import Org, data
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


def key() -> str:
    return f"{clock.now():%Y-%m}"


def page_of(org: Org, period_key: str | None = None) -> Any:
    return org.get(f"/api/statements?periodKey={period_key or key()}", Accept="text/html")


def text_of(response: Any) -> str:
    """Return what is read on a page, its words one space apart."""
    body = response.content.decode().partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture
def busy(org: Org) -> Org:
    """An organisation with something of everything that a statement shows."""
    now = clock.now()
    org.use(1_200, request_id="r1")
    org.use(34, request_id="r2")
    void_event(org_id=org.id, request_id="r2", reason="x", voided_by="test", now=now)
    corrections.forgive(org_id=org.id, metric="api_call", reason="x", who="test", now=now)
    corrections.adjust(org_id=org.id, metric="api_call", units=500, reason="x", who="test", now=now)
    org.use(7_300)
    InvoiceRef.objects.create(
        stripe_invoice_id="in_of_the_period",
        org_id=org.id,
        status="paid",
        total=1900,
        amount_due=1900,
        currency="usd",
        created_at=now,
        updated_at=now,
    )
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(100_000, "block")},
            because="test",
            now=clock.now(),
            anchor_at=Entitlement.objects.get(org_id=org.id).anchor_at,
        )
    return org


def test_the_page_has_the_numbers_of_the_api(busy: Org) -> None:
    numbers = data(busy.get(f"/api/statements?periodKey={key()}"))["metrics"]["api_call"]

    page = page_of(busy)

    row = [
        numbers[name]
        for name in ("included", "adjusted", "counted", "forgiven", "remaining", "overage")
    ]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert row == [100_000, 500, 8_500, 1_200, 93_200, 0]
    assert "API calls 100,000 500 8,500 1,200 93,200 0" in text_of(page)
    assert "34 more units were reported and voided" in text_of(page)


def test_the_page_names_plan_changes_invoices_and_days(busy: Org) -> None:
    shown = text_of(page_of(busy))

    assert "Starter Pro" in shown
    assert "in_of_the_period" in shown
    assert "Paid $19.00" in shown
    assert f"{clock.now():%B %Y} 8,500" in shown.replace("\N{NO-BREAK SPACE}", " ")
    assert "Open: figures may still change" in shown
    assert "Sealed once the period is closed" in shown


def test_a_closed_period_shows_its_seal(busy: Org) -> None:
    first = key()
    clock.set_offset(timedelta(days=64).total_seconds())

    shown = text_of(page_of(busy, first))

    sealed = data(busy.get(f"/api/statements?periodKey={first}"))
    assert sealed["digest"] in shown
    assert "none: this is the first" in shown


def test_a_period_without_use_has_a_page_too(org: Org) -> None:
    shown = text_of(page_of(org))

    assert "API calls 10,000 0 0 0 10,000 0" in shown
    assert "by day" not in shown


def test_overage_is_explained_where_there_is_some(org: Org) -> None:
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="business",
            status="active",
            allowances={"api_call": Allowance(10_000, "allow")},
            because="test",
            now=clock.now(),
            anchor_at=Entitlement.objects.get(org_id=org.id).anchor_at,
        )
    org.use(10_025)

    shown = text_of(page_of(org))

    assert "10,025 0 0 25" in shown
    assert "the difference is overage" in shown


def test_a_name_is_not_taken_for_markup(busy: Org) -> None:
    Organization.objects.filter(org_id=busy.id).update(name="<script>alert(1)</script>")

    assert "<script>" not in page_of(busy).content.decode()


def test_the_page_of_an_unknown_period_is_the_usual_refusal(org: Org) -> None:
    refused = page_of(org, "1999-01")

    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "NOT_FOUND"


def test_the_command_prints_the_same_page(busy: Org) -> None:
    out = StringIO()

    call_command("statement", busy.id, key(), "--html", stdout=out)

    printed = out.getvalue()
    made = re.compile(r"Made [0-9: -]+ UTC")
    assert made.sub("", printed).strip() == made.sub("", page_of(busy).content.decode()).strip()


def test_in_a_browser_it_is_styled_loads_nothing_and_has_no_fault(
    busy: Org, live_server: LiveServer, browser: Browser
) -> None:
    context = browser.new_context(
        extra_http_headers={"Authorization": f"Bearer {busy.tokens.access_token}"}
    )
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    address = live_server.url.replace("localhost", "127.0.0.1")
    url = f"{address}/api/statements?periodKey={key()}"

    page.goto(url)
    page.emulate_media(media="print")
    styled = page.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse")
    printed = page.pdf(prefer_css_page_size=True)
    page.emulate_media(media="screen")

    assert asked == [url]
    assert said == []
    assert styled == "collapse"
    assert printed.startswith(b"%PDF")
    assert faults(page) == []
    context.close()
