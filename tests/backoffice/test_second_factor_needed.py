"""Where all of staff need a second factor nobody gets in without one, at page or API."""

from collections.abc import Callable

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from config.backoffice.second_factor import devices
from config.contract import clock
from tests.backoffice.acting import do
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.test_recovery_codes import codes, shown
from tests.backoffice.test_second_factor import (
    PAGE,
    code_of,
    device,
    enter,
    fresh_counts,
    set_up,
    token,
)
from tests.support.cast import data, error
from tokens.models import StaffLogIn

__all__ = ["codes", "device", "fresh_counts"]
pytestmark = pytest.mark.django_db
Staff = Callable[[str], Client]

SESSION_ROUTES = ("/api/quota/explain?requestId=x", "/api/v1/usage?orgId=x")
RESET = "/api/admin/quotas/reset"


@pytest.fixture(autouse=True)
def needed(settings: Settings) -> None:
    settings.STAFF_MFA_REQUIRED = True


def bearer(client: Client, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}"}
    answer = client.post(RESET, {"dryRun": True}, content_type="application/json", headers=headers)
    return answer.status_code


def test_who_has_none_sets_it_up_as_they_log_in_and_is_in(client: Client, root: User) -> None:
    assert enter(client).status_code == 302
    led = client.get("/admin/")
    answer = set_up(client)

    assert (led.status_code, led.headers["Location"]) == (302, PAGE)
    assert len(shown(answer)) == 10
    assert client.get("/admin/").status_code == 200
    assert TOTPDevice.objects.filter(user=root).exists()


@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/acts/",
        "/admin/find/?q=x",
        "/admin/auth/user/",
        "/admin/explain/",
        "/admin/password_change/",
        "/admin/tokens/stafflogin/",
        "/admin/organisations/org_0/",
        "/admin/nothing/",
    ],
)
def test_until_then_every_page_leads_there(client: Client, root: User, path: str) -> None:
    enter(client)

    for answer in (client.get(path), client.post(path, {})):
        assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)


def test_until_then_the_api_takes_the_session_for_nobody(client: Client, root: User) -> None:
    enter(client)

    answers = [client.get(path).status_code for path in SESSION_ROUTES]
    answers.append(client.post(RESET, {}, content_type="application/json").status_code)

    assert answers == [401, 401, 401]


def test_the_page_shows_who_is_half_in_nothing_else_and_lets_them_out(
    client: Client, root: User
) -> None:
    enter(client)

    page = client.get(PAGE).content.decode()
    out = client.post("/admin/logout/")

    assert "/admin/acts/" not in page
    assert "/admin/billing/" not in page
    assert out.status_code == 200
    assert client.get(PAGE).headers["Location"].startswith("/admin/login/")


def test_without_proof_nobody_gets_further(client: Client, root: User) -> None:
    enter(client)

    assert set_up(client, code="000000").status_code == 200
    assert client.get("/admin/").headers["Location"] == PAGE


def test_who_has_one_logs_in_with_it_and_is_in_at_once(client: Client, device: TOTPDevice) -> None:
    assert enter(client).status_code == 200
    with time_machine.travel(clock.real_now().timestamp() + 60):
        assert enter(client, code_of(device)).status_code == 302
        assert client.get("/admin/").status_code == 200
        assert client.get(SESSION_ROUTES[0]).status_code != 401


def test_a_recovery_code_is_enough(client: Client, device: TOTPDevice, codes: list[str]) -> None:
    enter(client, codes[0])

    assert client.get("/admin/").status_code == 200


def test_a_session_begun_with_the_password_alone_is_not_enough_any_more(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_MFA_REQUIRED = False
    enter(client)
    assert client.get("/admin/").status_code == 200
    settings.STAFF_MFA_REQUIRED = True

    assert client.get("/admin/").headers["Location"] == PAGE


def test_a_session_older_than_its_owners_second_factor_has_to_begin_again(
    client: Client, root: User
) -> None:
    enter(client)
    TOTPDevice.objects.create(user=root, name="app", confirmed=True)

    answer = client.get(PAGE)

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/login/")
    assert client.get("/admin/").headers["Location"].startswith("/admin/login/")


def test_what_a_browser_proved_before_does_not_count_for_the_next_log_in(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    enter(client, codes[0])
    TOTPDevice.objects.all().delete()

    enter(client)

    assert client.get("/admin/").headers["Location"] == PAGE


def test_the_api_gives_no_token_to_who_has_none_and_says_what_to_do(
    client: Client, root: User
) -> None:
    refused = token(client)

    assert (refused.status_code, error(refused)["code"]) == (403, "FORBIDDEN")
    assert "second factor" in error(refused)["message"]
    assert StaffLogIn.objects.get().outcome == StaffLogIn.Outcome.FAILED
    assert token(client, password="wrong").status_code == 401


def test_the_api_gives_one_for_password_and_code(client: Client, device: TOTPDevice) -> None:
    access_token = data(token(client, otp=code_of(device)))["accessToken"]

    assert bearer(client, access_token) == 200


def test_a_token_got_with_the_password_alone_ends_as_the_second_factor_is_needed(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_MFA_REQUIRED = False
    access_token = data(token(client))["accessToken"]
    assert bearer(client, access_token) == 200
    settings.STAFF_MFA_REQUIRED = True

    assert bearer(client, access_token) == 401


def test_a_token_ends_as_the_second_factor_is_set_up_or_taken_away(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_MFA_REQUIRED = False
    alone = data(token(client))["accessToken"]
    device = TOTPDevice.objects.create(user=root, name="app", confirmed=True)
    both = data(token(client, otp=code_of(device)))["accessToken"]

    assert (bearer(client, alone), bearer(client, both)) == (401, 200)
    devices.remove(root)
    assert bearer(client, both) == 401


def test_who_has_it_taken_away_is_out_and_sets_it_up_anew(
    staff: Staff, client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    enter(client, codes[0])
    boss = User.objects.create_superuser("boss", password=PASSWORD)
    TOTPDevice.objects.create(user=boss, name="app", confirmed=True)
    theirs = Client()
    theirs.post(
        "/admin/login/",
        {
            "username": "boss",
            "password": PASSWORD,
            "otp_token": code_of(TOTPDevice.objects.get(user=boss)),
        },
    )

    do(theirs, "remove-second-factor", username="root")

    assert client.get("/admin/").headers["Location"].startswith("/admin/login/")
    enter(client)
    assert client.get("/admin/").headers["Location"] == PAGE


def test_a_superuser_who_takes_their_own_away_has_to_set_it_up_again(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    enter(client, codes[0])

    client.post(PAGE, {"act": "remove", "password": PASSWORD, "code": code_of(device)})

    assert client.get("/admin/").headers["Location"] == PAGE
    assert len(shown(set_up(client))) == 10


def test_the_right_to_change_accounts_alone_takes_no_second_factor_away(
    device: TOTPDevice, settings: Settings
) -> None:
    settings.STAFF_MFA_REQUIRED = False
    clerk = User.objects.create(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.all())
    client = Client()
    client.force_login(clerk)
    act = reverse("act", args=["remove-second-factor"])

    index = client.get(reverse("acts")).content.decode()

    assert reverse("act", args=["suspend-organization"]) in index
    assert act not in index
    assert client.get(act).status_code == 403
    assert client.post(act, {"username": "root", "reason": "mine now"}).status_code == 403
