"""The pictures of the usage page in docs/usage-page.md."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.portal.http import new_live_owner, watched
from tests.support.live import Live
from tests.support.pictures import picture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.pictures]

DESK: dict[str, Any] = {"viewport": {"width": 1180, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 375, "height": 740}}


def test_the_pages_are_taken_pictures_of(live: Live, browser: Browser, tmp_path: Path) -> None:
    owner = new_live_owner(live)
    taken = []

    for name, options in (
        ("desk", {**DESK, "color_scheme": "light"}),
        ("desk-dark", {**DESK, "color_scheme": "dark"}),
        ("phone", {**PHONE, "color_scheme": "light"}),
    ):
        with watched(browser, **options) as (page, _):
            page.goto(owner.link())
            page.get_by_role("button", name="Open the page").click()
            taken.append(picture(page, f"usage-page-{name}", elsewhere=tmp_path))
            if name == "desk":
                page.get_by_role("link", name="Upgrade to Pro").click()
                taken.append(picture(page, "usage-page-upgrade", elsewhere=tmp_path))

    assert len(taken) == 4
    assert all(path.stat().st_size > 10_000 for path in taken)
