"""The pictures in docs/back-office.md: one customer with a story, among two hundred."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, expect
from pytest_django import Settings

from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.backoffice.seeding import seed
from config.contract import clock
from config.contract.clients import clients
from quotas import corrections
from quotas.denial_models import DeniedRequest
from tests.portal.http import LiveOwner, new_live_owner, watched
from tests.support.live import Live
from tests.support.pictures import UPDATING, picture
from tests.webhooks.cast import work_off
from usage.tasks import roll_recent_days_up, sample_counters
from webhooks.models import WebhookEvent
from webhooks.tasks import fill_gaps

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.pictures]

#: What the customer quotes.
QUOTED = "checkout-4711"
_PATIENCE = 15


@pytest.fixture
def owner(live: Live, settings: Settings) -> Iterator[LiveOwner]:
    """Somebody who was denied, was helped by staff, and upgraded."""
    many = 10 if UPDATING else 1
    seed(organisations=25 * many, events=2_000 * many, now=clock.now())
    owner = new_live_owner(live)
    _deny(owner)
    corrections.adjust(
        org_id=owner.id,
        metric="api_call",
        units=500,
        reason="Goodwill for the outage, ticket 4711",
        who="staff:1",
        now=clock.now(),
    )
    owner.call("/api/plans/upgrade", newPlanCode="pro")
    url = live.env["SANDBOX_URL"]
    stripe = StripeGateway(Transport(api_key=settings.STRIPE_API_KEY, base_url=url))
    with clients.swapped("stripe", stripe):
        _catch_up()
        yield owner


def test_the_pages_for_staff_are_taken_pictures_of(
    owner: LiveOwner, browser: Browser, tmp_path: Path
) -> None:
    client = Client()
    client.force_login(User.objects.create(username="ana", is_staff=True, is_superuser=True))
    cookie = client.cookies["sessionid"]
    base = owner.live.base
    taken = []

    with watched(browser, viewport={"width": 1280, "height": 1060}) as (page, noticed):
        page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": base}])
        for name, path, heading in (
            ("dashboard", "/admin/", "Dashboard"),
            ("organisation", f"/admin/organisations/{owner.id}/", "Northwind Traders"),
            ("explain", f"/admin/explain/?id={QUOTED}", "Explain"),
        ):
            page.goto(f"{base}{path}")
            page.wait_for_load_state("networkidle")
            expect(page.get_by_role("heading", level=1)).to_have_text(heading)
            taken.append(picture(page, name, elsewhere=tmp_path, whole=False))
            if name == "organisation":
                told = page.get_by_role("region", name="What happened")
                taken.append(picture(told, "organisation-timeline", elsewhere=tmp_path))

    assert noticed == []
    # Nothing empty, and nothing that makes the repository heavy.
    assert all(10_000 < path.stat().st_size < 200_000 for path in taken)


def _deny(owner: LiveOwner) -> None:
    """Have the customer use more than is left, under the id that she will quote."""
    use = {
        "orgId": owner.id,
        "metric": "api_call",
        "value": 5_000,
        "occurredAt": clock.now().isoformat(),
        "request_id": "invoice-run-88",
    }
    headers = {
        "Authorization": f"Bearer {owner.token}",
        "Content-Type": "application/json",
        "x-correlation-id": QUOTED,
    }
    link = http.client.HTTPConnection(urlsplit(owner.live.base).netloc, timeout=10)
    link.request("POST", "/api/v1/usage", json.dumps(use), headers)
    assert link.getresponse().status == 429
    link.close()
    _until(lambda: DeniedRequest.objects.known_as(QUOTED).exists())


def _catch_up() -> None:
    """Do what worker and beat would have done by now."""
    _until(lambda: WebhookEvent.objects.filter(state="pending").exists())
    work_off()
    fill_gaps()
    work_off()
    sample_counters()
    roll_recent_days_up()


def _until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "what the picture shows did not happen"
        time.sleep(0.05)  # another process is at it
