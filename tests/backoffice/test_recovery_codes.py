"""Recovery codes: shown once, good once, and each use written down."""

import re
import threading
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from config.backoffice.models import StaffAct
from config.backoffice.recovery_models import RecoveryCode
from config.backoffice.second_factor import recovery
from config.contract import clock
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.test_second_factor import (
    PAGE,
    code_of,
    device,
    enter,
    fresh_counts,
    inside,
    set_up,
    token,
)
from tests.support.cast import data

__all__ = ["device", "fresh_counts", "inside"]
pytestmark = pytest.mark.django_db


def shown(answer: Any) -> list[str]:
    """Return the codes on a page."""
    return re.findall(r"<li>([a-z2-9]{5}-[a-z2-9]{5})</li>", answer.content.decode())


def renew(client: Client, code: str, *, password: str = PASSWORD) -> Any:
    return client.post(PAGE, {"act": "codes", "password": password, "code": code})


@pytest.fixture
def codes(root: User) -> list[str]:
    """The recovery codes of root, just made."""
    return recovery.renew(root, now=clock.real_now())


def test_setting_a_second_factor_up_shows_ten_codes_once(inside: Client) -> None:
    answer = set_up(inside)

    assert len(set(shown(answer))) == 10
    assert "no-store" in answer.headers["Cache-Control"]
    assert shown(inside.get(PAGE)) == []
    assert "10 recovery codes left" in inside.get(PAGE).content.decode()


def test_the_page_that_shows_them_may_be_sent_again_and_changes_nothing(inside: Client) -> None:
    set_up(inside)
    before = set(RecoveryCode.objects.values_list("pk", flat=True))

    again = inside.post(PAGE, {"act": "set-up", "password": PASSWORD, "code": "000000"})

    assert (again.status_code, again.headers["Location"]) == (302, PAGE)
    assert set(RecoveryCode.objects.values_list("pk", flat=True)) == before


def test_a_code_lets_its_owner_in_at_the_page_once(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    first = enter(client, codes[0])
    page = client.get("/admin/").content.decode()
    again = enter(Client(), codes[0])

    assert first.status_code == 302
    assert "Of those you have 9 left" in page
    assert again.status_code == 200


def test_a_code_lets_its_owner_in_at_the_api_once(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    answers = [token(client, otp=codes[3]) for _ in range(2)]

    assert [one.status_code for one in answers] == [200, 401]
    assert data(answers[0])["accessToken"]
    assert "messages" not in answers[0].cookies


def test_a_code_may_be_typed_as_people_type(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    assert token(client, otp=f" {codes[0].upper()} ").status_code == 200
    assert token(client, otp=codes[1].replace("-", "")).status_code == 200
    assert token(client, otp=codes[2].replace("-", " ")).status_code == 200


def test_each_use_is_an_audit_row_and_no_code_is_in_it(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    enter(client, codes[0])
    token(client, otp=codes[1])

    rows = StaffAct.objects.order_by("pk")
    assert [(row.act, row.username, row.reason) for row in rows] == [
        ("recovery-code-used", "root", "at a log-in; 9 left"),
        ("recovery-code-used", "root", "at a log-in; 8 left"),
    ]
    assert all(code not in str(rows.values()) for code in codes)


def test_without_the_password_a_code_opens_nothing_and_is_not_used_up(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    assert token(client, password="wrong", otp=codes[0]).status_code == 401
    assert token(client, otp=codes[0]).status_code == 200


def test_the_code_of_somebody_else_opens_nothing(
    client: Client, device: TOTPDevice, codes: list[str]
) -> None:
    other = User.objects.create_superuser("other", password=PASSWORD)
    TOTPDevice.objects.create(user=other, name="app", confirmed=True)

    assert token(client, username="other", otp=codes[0]).status_code == 401


def test_guessing_codes_locks_out_and_keeps_the_app_usable(
    client: Client, device: TOTPDevice
) -> None:
    answers = [token(client, otp=f"aaaaa-aaaa{digit}").status_code for digit in range(2, 7)]

    assert answers == [401, 401, 401, 401, 429]
    elsewhere = client.post(
        "/api/admin/token",
        {"username": "root", "password": PASSWORD, "otp": code_of(device)},
        content_type="application/json",
        REMOTE_ADDR="192.0.2.7",
    )
    assert elsewhere.status_code == 200


def test_only_hashes_are_stored_and_neither_pages_nor_logs_have_the_codes(
    client: Client,
    inside: Client,
    device: TOTPDevice,
    codes: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    token(client, otp=codes[0])
    page = inside.get("/admin/backoffice/recoverycode/").content.decode()
    row = RecoveryCode.objects.order_by("pk")[0]
    detail = inside.get(f"/admin/backoffice/recoverycode/{row.pk}/change/").content.decode()

    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(t::text, '') FROM backoffice_recoverycode t")
        stored = str(cursor.fetchone())
    for code in codes:
        for text in (stored, page, detail, caplog.text):
            assert code not in text
            assert code.replace("-", "") not in text
    assert bytes(row.code_hash).hex() not in page + detail


def test_their_owner_makes_new_ones_on_proof_and_the_old_ones_open_nothing(
    client: Client, inside: Client, device: TOTPDevice, codes: list[str]
) -> None:
    for answer in (renew(inside, "000000"), renew(inside, code_of(device), password="wrong")):
        assert shown(answer) == []
    with time_machine.travel(clock.real_now().timestamp() + 60):
        new = shown(renew(inside, code_of(device)))

        assert len(set(new) - set(codes)) == 10
        assert token(client, otp=codes[0]).status_code == 401
        assert token(client, otp=new[0]).status_code == 200
    assert StaffAct.objects.filter(act="recovery-codes-made").count() == 1


def test_a_recovery_code_is_no_proof_for_new_ones(
    inside: Client, device: TOTPDevice, codes: list[str]
) -> None:
    assert shown(renew(inside, codes[0])) == []


def test_who_is_no_superuser_makes_new_ones_too(staff: Any) -> None:
    browser = staff("support")
    user = User.objects.get(username="support")
    user.set_password(PASSWORD)
    user.save()
    browser.force_login(user)
    own = TOTPDevice.objects.create(user=user, name="app", confirmed=True)

    assert len(shown(renew(browser, code_of(own)))) == 10


def test_they_go_with_the_second_factor(
    inside: Client, device: TOTPDevice, codes: list[str]
) -> None:
    inside.post(PAGE, {"act": "remove", "password": PASSWORD, "code": code_of(device)})

    assert not RecoveryCode.objects.exists()


def test_who_has_none_left_is_told(inside: Client, device: TOTPDevice) -> None:
    assert "You have no recovery codes" in inside.get(PAGE).content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_type_the_same_code_at_once_one_gets_in(root: User) -> None:
    [code, *_] = recovery.renew(root, now=clock.real_now())
    start, used = threading.Barrier(4), []

    def use() -> None:
        start.wait()
        used.append(recovery.use(root, code, now=clock.real_now()))
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(used) == [False, False, False, True]
