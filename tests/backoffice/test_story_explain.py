"""A customer writes that it was denied: two clicks later support knows why."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect

from config.contract import clock
from quotas import corrections
from quotas.models import Entitlement
from tests.backoffice.conftest import PASSWORD
from tests.support.cast import make_org
from tests.support.live import env_of_web, web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick_passwords() -> None:
    """Leave the passwords slow: it is another process that looks at them."""


def test_a_denied_customer_is_found_by_correlation_id_and_explained(page: Page) -> None:
    org = make_org(included=10_000)
    Entitlement.objects.update(status_because="customer.subscription.updated evt_1SWq8LKz")
    corrections.adjust(
        org_id=org.id,
        metric="api_call",
        units=200,
        reason="goodwill",
        who="staff:1",
        now=clock.now(),
    )
    org.use(10_198, request_id="import-2026-11-22-0042")
    person = User.objects.create_user("ana", password=PASSWORD, is_staff=True)
    person.groups.add(Group.objects.get(name="support"))
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text))
    page.on("pageerror", lambda told: complaints.append(str(told)))

    with web(env_of_web(PUBLIC_URL=settings.PUBLIC_URL)) as live:
        _denied(live.base, org.headers(), org.id, "checkout-4711")
        page.goto(f"{live.base}/admin/")
        page.get_by_label("Username").fill("ana")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()

        page.get_by_role("link", name="Explain").click()
        page.get_by_label("Request id, correlation id").fill("checkout-4711")
        page.get_by_role("button", name="Explain").first.click()

        expect(page.get_by_role("status")).to_contain_text(
            "Denied: 5 units of api_call asked for, and 2 units left."
        )
        numbers = page.get_by_role("region", name="In numbers")
        expect(numbers.get_by_role("row", name="used")).to_contain_text("10,198")
        expect(page.get_by_role("region", name="What happened around it")).to_contain_text(
            "goodwill"
        )

    assert complaints == []


def _denied(base: str, headers: dict[str, str], org_id: str, correlation_id: str) -> None:
    link = http.client.HTTPConnection(urlsplit(base).netloc, timeout=10)
    link.request(
        "POST",
        "/api/quota/check",
        json.dumps({"orgId": org_id, "metric": "api_call", "value": 5}),
        {**headers, "Content-Type": "application/json", "x-correlation-id": correlation_id},
    )
    assert link.getresponse().status == 429
    link.close()
