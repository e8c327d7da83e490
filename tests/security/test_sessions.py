"""Staff's sessions: new with each log-in, dead with the log-out, gone with the account."""

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

PASSWORD = "seven grey boats at noon"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quick_passwords(settings: Settings) -> None:
    """A log-in need not take the time here that it takes a guesser."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def root() -> User:
    """A superuser who knows a password."""
    return User.objects.create_superuser("root", password=PASSWORD)


def key_of(client: Client, settings: Settings) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def log_in(client: Client) -> None:
    answer = client.post("/admin/login/", {"username": "root", "password": PASSWORD})
    assert answer.status_code == 302


def is_inside(client: Client) -> bool:
    return bool(client.get("/admin/").status_code == 200)


def test_a_log_in_begins_a_session_of_its_own_and_ends_the_one_before(
    root: User, settings: Settings
) -> None:
    client = Client()
    log_in(client)
    first = key_of(client, settings)

    log_in(client)

    assert key_of(client, settings) != first
    assert not Session.objects.filter(session_key=first).exists()
    assert is_inside(client)


def test_a_session_that_an_attacker_planted_is_not_taken_over(
    root: User, settings: Settings
) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32

    log_in(client)

    assert key_of(client, settings) != "a" * 32


def test_a_session_is_a_random_number_of_more_than_128_bits(root: User, settings: Settings) -> None:
    keys = set()
    for _ in range(3):
        client = Client()
        log_in(client)
        keys.add(key_of(client, settings))

    # 32 of 36 characters: 165 bits.
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


def test_who_logged_out_is_out_with_a_copy_of_the_cookie_too(
    root: User, settings: Settings
) -> None:
    client, copy = Client(), Client()
    log_in(client)
    copy.cookies[settings.SESSION_COOKIE_NAME] = key_of(client, settings)
    assert is_inside(copy)

    client.post("/admin/logout/")

    assert not is_inside(copy)
    assert not Session.objects.exists()


def test_a_link_does_not_log_anybody_out(root: User) -> None:
    client = Client()
    log_in(client)

    assert client.get("/admin/logout/").status_code == 405
    assert is_inside(client)


def test_an_account_that_is_switched_off_is_out_at_its_next_request(root: User) -> None:
    client = Client()
    log_in(client)

    User.objects.filter(pk=root.pk).update(is_active=False)

    assert not is_inside(client)


def test_every_page_offers_the_way_out_and_is_kept_by_nobody(root: User) -> None:
    client = Client()
    log_in(client)

    for path in ("/admin/", "/admin/find/", "/admin/usage/usageevent/", "/admin/acts/"):
        page = client.get(path)

        assert 'action="/admin/logout/"' in page.content.decode(), path
        assert "no-store" in page.headers["Cache-Control"], path
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"


def test_no_log_in_leads_to_another_host(root: User) -> None:
    for there in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        answer = Client().post(
            f"/admin/login/?next={there}",
            {"username": "root", "password": PASSWORD, "next": there},
        )

        assert answer.headers["Location"] == "/admin/"
