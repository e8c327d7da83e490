"""Setting a second factor up in a real browser, as somebody does who must have one."""

from base64 import b32decode
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django_otp.oath import totp
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings

from tests.backoffice.conftest import PASSWORD
from tests.portal.http import watched
from tests.support.accessible import faults
from tests.support.live import env_of_web, web
from tests.support.pictures import picture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def root_of_a_process(settings: Settings) -> None:
    """A superuser whose password a process of its own can check."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    User.objects.create_superuser("root", password=PASSWORD)


def log_in(page: Page, base: str, code: str = "") -> None:
    page.goto(f"{base}/admin/login/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Log in").click()


@pytest.mark.parametrize("width", [1440, 390])
def test_who_must_have_one_sets_it_up_keeps_the_codes_and_gets_in_with_one(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    with (
        web(env_of_web(STAFF_MFA_REQUIRED="1")) as live,
        watched(browser, viewport={"width": width, "height": 900}) as (page, noticed),
    ):
        log_in(page, live.base)
        expect(page.get_by_text("Everybody who works here needs a second factor.")).to_be_visible()
        seen = {"set up": faults(page, within="main")}
        picture(page, f"second-factor-set-up-{width}", elsewhere=tmp_path)

        key = page.locator("code.acts-secret").inner_text()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("textbox", name="Code").fill(f"{totp(b32decode(key)):06d}")
        page.get_by_role("button", name="Set it up").click()
        expect(page.locator(".recovery-codes li")).to_have_count(10)
        codes = page.locator(".recovery-codes li").all_inner_texts()
        seen["codes"] = faults(page, within="main")
        picture(page, f"recovery-codes-{width}", elsewhere=tmp_path)

        page.get_by_role("link", name="I have kept them").click()
        expect(page.get_by_text("You have 10 recovery codes left.")).to_be_visible()
        seen["page"] = faults(page, within="main")
        picture(page, f"second-factor-{width}", elsewhere=tmp_path)

        page.context.clear_cookies()
        log_in(page, live.base, codes[0])
        expect(page.get_by_text("Of those you have 9 left.")).to_be_visible()
        picture(page, f"recovery-code-used-{width}", elsewhere=tmp_path)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")

    assert len(set(codes)) == 10
    assert noticed == []
    assert {name: fault for name, fault in seen.items() if fault} == {}
    assert wide <= 0
