"""A second factor for staff: set up by its owner, asked for at every door, taken away on proof."""

import re
from base64 import b32decode
from collections.abc import Callable
from functools import partial
from io import StringIO
from typing import Any

import pytest
import time_machine
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from config.backoffice.models import StaffAct
from config.backoffice.second_factor import devices
from config.contract import clock
from tests.backoffice.acting import do, look
from tests.backoffice.conftest import PASSWORD
from tests.races.interleave import all_at_once
from tests.support.cast import data, error

pytestmark = pytest.mark.django_db
PAGE = "/admin/second-factor/"
Staff = Callable[[str], Client]


@pytest.fixture(autouse=True)
def fresh_counts() -> None:
    """Nothing failed yet, as far as this process remembers."""
    AxesProxyHandler.get_implementation(force=True).cache._here.clear()


def code_of(device: Any, *, ahead: int = 0) -> str:
    """Return what the app shows, so many codes ahead."""
    return f"{totp(device.bin_key, drift=ahead):06d}"


def enter(client: Client, code: str = "", *, password: str = PASSWORD) -> Any:
    body = {"username": "root", "password": password, "otp_token": code}
    return client.post("/admin/login/", body)


def token(client: Client, **more: Any) -> Any:
    body = {"username": "root", "password": PASSWORD, **more}
    return client.post("/api/admin/token", body, content_type="application/json")


@pytest.fixture
def device(root: User) -> TOTPDevice:
    """The second factor of root."""
    return TOTPDevice.objects.create(user=root, name="app", confirmed=True)


@pytest.fixture
def inside(client: Client, root: User) -> Client:
    """Root's browser."""
    client.force_login(root)
    return client


def set_up(client: Client, *, code: str = "", password: str = PASSWORD) -> Any:
    """Read the key off the page as an app does, and prove that it works."""
    page = client.get(PAGE).content.decode()
    found = re.search(r'<code class="acts-secret[^>]*>([A-Z2-7]+)</code>', page)
    assert found, page
    shown = code or f"{totp(b32decode(found[1])):06d}"
    return client.post(PAGE, {"act": "set-up", "password": password, "code": shown})


def test_an_app_is_set_up_and_from_then_on_the_password_alone_opens_nothing(
    inside: Client, root: User
) -> None:
    answer = set_up(inside)

    assert (answer.status_code, "Recovery codes" in answer.content.decode()) == (200, True)
    device = TOTPDevice.objects.get(user=root)
    stranger = Client()
    assert enter(stranger).status_code == 200
    assert stranger.get("/admin/").status_code == 302
    with time_machine.travel(clock.real_now().timestamp() + 60):
        assert enter(stranger, code_of(device)).status_code == 302
        assert stranger.get("/admin/").status_code == 200


def test_the_page_that_shows_the_key_is_not_kept_and_draws_it(inside: Client) -> None:
    page = inside.get(PAGE)

    assert "no-store" in page.headers["Cache-Control"]
    assert "<svg" in page.content.decode()
    assert "otpauth" not in page.content.decode()


@pytest.mark.parametrize("proof", [{"code": "000000"}, {"code": "abc"}, {"password": "wrong"}])
def test_without_proof_nothing_is_set_up(inside: Client, proof: dict[str, str]) -> None:
    answer = set_up(inside, **proof)

    assert answer.status_code == 200
    assert not TOTPDevice.objects.exists()
    set_up(inside)
    assert TOTPDevice.objects.exists()


def test_setting_it_up_ends_the_other_sessions_and_no_one_elses(
    inside: Client, root: User, staff: Staff
) -> None:
    elsewhere, colleague = Client(), staff("auditor")
    elsewhere.force_login(root)

    set_up(inside)

    seen = [one.get("/admin/").status_code for one in (inside, elsewhere, colleague)]
    assert seen == [200, 302, 200]


@pytest.mark.django_db(transaction=True)
def test_a_double_click_sets_one_up(root: User) -> None:
    key = devices.new_key()
    code = code_of(devices.new_device(root, key))

    shown = all_at_once([partial(devices.confirm, root, key, code, session_key=None)] * 2)

    assert shown.count(None) == 1
    assert TOTPDevice.objects.filter(user=root).count() == 1


def test_the_api_asks_for_the_code_too(client: Client, device: TOTPDevice) -> None:
    without, wrong = token(client), token(client, otp="123")

    assert [error(one)["code"] for one in (without, wrong)] == ["UNAUTHENTICATED"] * 2
    assert without.content != b""
    with time_machine.travel(clock.real_now().timestamp() + 60):
        assert data(token(client, otp=code_of(device)))["accessToken"]


def test_a_code_is_good_once(client: Client, device: TOTPDevice) -> None:
    code = code_of(device)

    answers = [token(client, otp=code).status_code for _ in range(2)]

    assert answers == [200, 401]


def test_nobody_is_told_whether_the_password_or_the_code_was_wrong(
    client: Client, device: TOTPDevice
) -> None:
    ids = {"x-request-id": "same", "x-correlation-id": "same"}
    answers = [
        client.post(
            "/api/admin/token",
            {"username": "root", "password": password, "otp": "123456"},
            content_type="application/json",
            headers=ids,
        ).content
        for password in (PASSWORD, "wrong")
    ]
    pages = [enter(client, "123456", password=one).context["form"] for one in (PASSWORD, "wrong")]

    assert answers[0] == answers[1]
    assert pages[0].errors == pages[1].errors


def test_guessing_codes_locks_out_like_guessing_passwords(
    client: Client, device: TOTPDevice
) -> None:
    answers = [token(client, otp=f"{number:06d}").status_code for number in range(6)]

    assert answers == [401, 401, 401, 401, 429, 429]


def test_after_a_wrong_code_even_the_right_one_has_to_wait(
    client: Client, device: TOTPDevice
) -> None:
    token(client, otp="1")

    at_once = token(client, otp=code_of(device)).status_code

    assert at_once == 401
    with time_machine.travel(clock.real_now().timestamp() + 60):
        assert token(client, otp=code_of(device)).status_code == 200


def test_who_has_none_is_asked_for_none(client: Client, root: User) -> None:
    assert enter(client).status_code == 302
    assert data(token(client, otp="123456"))["accessToken"]


def test_it_is_taken_away_on_proof_only(inside: Client, device: TOTPDevice) -> None:
    for proof in ({"password": "wrong", "code": code_of(device)}, {"password": PASSWORD}):
        assert inside.post(PAGE, proof).status_code == 200
    assert TOTPDevice.objects.exists()

    answer = inside.post(PAGE, {"password": PASSWORD, "code": code_of(device)})

    assert answer.status_code == 302
    assert not TOTPDevice.objects.exists()
    assert StaffAct.objects.get().act == "second-factor-off"


def test_who_lost_the_app_is_let_back_in_by_a_superuser(
    staff: Staff, client: Client, device: TOTPDevice
) -> None:
    boss = staff("superuser")
    accounts = boss.get("/admin/auth/user/").content.decode()

    do(boss, "remove-second-factor", username="root")

    assert 'id="result_list"' in accounts
    assert enter(client).status_code == 302
    assert StaffAct.objects.get().asked == {"username": "root"}
    assert not look(boss, "remove-second-factor", username="root").can_be_confirmed


def test_the_last_superuser_is_let_back_in_by_command(client: Client, device: TOTPDevice) -> None:
    said = StringIO()

    call_command("remove_second_factor", "root", "--reason", "lost phone", stdout=said)

    assert said.getvalue() == "removed\n"
    assert enter(client).status_code == 302
    assert StaffAct.objects.get().reason == "lost phone"
    for name in ("root", "nobody"):
        with pytest.raises(CommandError):
            call_command("remove_second_factor", name, "--reason", "x")


def test_where_it_is_switched_off_nothing_asks_for_it(
    inside: Client, device: TOTPDevice, settings: Settings
) -> None:
    settings.STAFF_MFA = False

    assert inside.get(PAGE).status_code == 404
    assert "/admin/second-factor/" not in inside.get("/admin/").content.decode()
    assert enter(Client()).status_code == 302


def test_the_page_is_in_the_menu_of_ones_account(inside: Client) -> None:
    assert f'href="{PAGE}"' in inside.get("/admin/").content.decode()


def test_no_role_edits_devices(staff: Staff) -> None:
    assert staff("superuser").get("/admin/otp_totp/totpdevice/").status_code == 404


def test_neither_key_nor_code_reaches_the_log(
    client: Client, inside: Client, root: User, caplog: pytest.LogCaptureFixture
) -> None:
    set_up(inside)
    device = TOTPDevice.objects.get(user=root)
    token(client, otp="918273")

    assert device.key not in caplog.text
    assert "918273" not in caplog.text


def test_a_password_change_ends_the_other_sessions(root: User) -> None:
    here, elsewhere = Client(), Client()
    for browser in (here, elsewhere):
        browser.force_login(root)
    new = "another-password-of-staff"

    here.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": new, "new_password2": new},
    )

    assert [one.get("/admin/").status_code for one in (here, elsewhere)] == [200, 302]


def test_a_password_that_a_superuser_sets_ends_all_sessions_of_the_account(
    staff: Staff, root: User
) -> None:
    boss, theirs = staff("superuser"), Client()
    theirs.force_login(root)
    new = "another-password-of-staff"

    boss.post(
        f"/admin/auth/user/{root.pk}/password/",
        {"usable_password": "true", "password1": new, "password2": new},
    )

    assert theirs.get("/admin/").status_code == 302


def test_who_is_no_superuser_does_not_take_their_second_factor_away(staff: Staff) -> None:
    client = staff("support")
    user = User.objects.get(username="support")
    user.set_password(PASSWORD)
    user.save()
    client.force_login(user)
    device = TOTPDevice.objects.create(user=user, name="app", confirmed=True)

    response = client.post(PAGE, {"password": PASSWORD, "code": code_of(device)})

    assert response.status_code == 403
    assert TOTPDevice.objects.filter(user=user).exists()
    assert "ask a superuser" in client.get(PAGE).content.decode()
    assert "Take it away" not in client.get(PAGE).content.decode()
