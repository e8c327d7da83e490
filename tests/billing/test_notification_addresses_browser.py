"""The page behind the link to a notification address, in a real browser."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
from django.core import mail
from playwright.sync_api import Browser, expect
from pytest_django import Settings

from billing import tasks
from billing.notifications.models import NotificationAddress
from tests.portal.http import call, watched
from tests.support.accessible import faults
from tests.support.live import Live
from tests.support.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_reader_agrees_by_a_button_on_a_desk_and_a_phone(
    live: Live, browser: Browser, settings: Settings, tmp_path: Path
) -> None:
    settings.PUBLIC_URL = live.base
    made = call(live, "/api/signup", {"orgName": "Northwind Traders", "email": "ann@acme.example"})
    tokens = call(live, "/api/tokens/activate", {"activationCode": made["activationCode"]})
    chosen = {"orgId": made["orgId"], "emails": ["ops@stranger.example", "b@stranger.example"]}
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{live.base}/api/notifications",
        data=json.dumps(chosen).encode(),
        method="PUT",
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {tokens['accessToken']}",
        },
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
    tasks.mail_addresses()
    links = {one.to[0]: re.findall(r"http\S+", str(one.body))[0] for one in mail.outbox}

    for width, address in zip((1440, 390), chosen["emails"], strict=True):
        with watched(browser, viewport={"width": width, "height": 900}) as (page, noticed):
            page.goto(links[address])
            seen = faults(page, within="main")
            picture(page, f"notices-{width}", elsewhere=tmp_path)
            page.get_by_role("button", name="Send notices here").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Done")
            seen += faults(page, within="main")
            picture(page, f"notices-confirmed-{width}", elsewhere=tmp_path)
            page.goto(links[address])
            expect(page.get_by_role("button")).to_have_count(0)
        # Of the link that was used before: 410.
        assert (seen, [one for one in noticed if "410" not in one]) == ([], [])

    assert not NotificationAddress.objects.filter(confirmed_at=None).exists()
