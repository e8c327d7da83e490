"""Five failures of one name from one address shut the log-in to it, page and API alike."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from axes.handlers.proxy import AxesProxyHandler
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from pytest_django import Settings

from config.backoffice.lockout import LockoutHandler
from tests.backoffice.conftest import PASSWORD
from tests.support.cast import data, error

NOWHERE = "unix:///nowhere/valkey.sock?db=0"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_counts() -> Iterator[None]:
    """Nothing failed yet, as far as this process remembers."""
    handler = AxesProxyHandler.get_implementation(force=True)
    assert isinstance(handler, LockoutHandler)
    handler.cache._here.clear()
    yield
    handler.cache._here.clear()


@pytest.fixture
def valkey_away(settings: Settings) -> Iterator[None]:
    """The cache points where nothing listens."""
    dead = {**settings.CACHES["valkey"], "LOCATION": NOWHERE}
    settings.CACHES = {**settings.CACHES, "valkey": dead}
    caches.close_all()
    yield
    caches.close_all()


def api(client: Client, password: str, *, username: str = "root", **more: Any) -> Any:
    body = {"username": username, "password": password}
    return client.post("/api/admin/token", body, content_type="application/json", **more)


def form(client: Client, password: str, **more: Any) -> Any:
    return client.post("/admin/login/", {"username": "root", "password": password}, **more)


def test_the_fifth_failure_at_the_api_is_429_in_the_envelope(client: Client, root: User) -> None:
    first = [api(client, "wrong") for _ in range(4)]

    fifth, right = api(client, "wrong"), api(client, PASSWORD)

    assert {(one.status_code, error(one)["code"]) for one in first} == {(401, "UNAUTHENTICATED")}
    for response in (fifth, right):
        assert (response.status_code, error(response)["code"]) == (429, "THROTTLED")
        assert response.headers["Retry-After"] == "900"
        assert response.headers["Content-Type"].startswith("application/json")


def test_a_name_that_does_not_exist_is_locked_alike(client: Client) -> None:
    answers = [api(client, "wrong", username="nobody").status_code for _ in range(6)]

    assert answers == [401, 401, 401, 401, 429, 429]


def test_the_fifth_failure_at_the_page_shows_a_page(client: Client, root: User) -> None:
    answers = [form(client, "wrong").status_code for _ in range(4)]

    response = form(client, "wrong")

    assert answers == [200, 200, 200, 200]
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "900"
    assert "Try again in 15 minutes" in response.content.decode()
    assert form(client, PASSWORD).status_code == 429


def test_who_is_locked_out_at_the_page_is_locked_out_at_the_api(client: Client, root: User) -> None:
    for _ in range(5):
        form(client, "wrong")

    assert api(client, PASSWORD).status_code == 429


def test_another_address_and_another_name_are_not_locked_out(client: Client, root: User) -> None:
    for _ in range(5):
        api(client, "wrong")

    assert api(client, PASSWORD, REMOTE_ADDR="192.0.2.7").status_code == 200
    assert api(client, "wrong", username="other").status_code == 401


def test_a_forwarded_address_is_not_believed(client: Client, root: User) -> None:
    answers = [
        api(client, "wrong", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
        for number in range(5)
    ]

    assert answers[-1] == 429


def test_a_log_in_forgets_the_failures_before_it(client: Client, root: User) -> None:
    for _ in range(4):
        form(client, "wrong")

    assert form(client, PASSWORD).status_code == 302
    assert [form(client, "wrong").status_code for _ in range(4)] == [200] * 4


def test_a_lock_ends_by_itself(client: Client, root: User, valkey: "redis.Redis") -> None:
    for _ in range(5):
        api(client, "wrong")

    [key] = valkey.keys("lockout:*")
    assert 0 < int(valkey.ttl(key)) <= 900
    valkey.delete(key)
    assert api(client, PASSWORD).status_code == 200


def test_with_valkey_away_the_api_lets_staff_in(
    client: Client, root: User, valkey_away: None
) -> None:
    assert api(client, "wrong").status_code == 401
    assert data(api(client, PASSWORD))["accessToken"]


def test_with_valkey_away_guessing_is_still_locked_out(
    client: Client, root: User, valkey_away: None
) -> None:
    answers = [api(client, "wrong").status_code for _ in range(6)]

    assert answers == [401, 401, 401, 401, 429, 429]
    assert form(client, PASSWORD).status_code == 429


def test_with_valkey_away_the_log_in_page_works(
    client: Client, root: User, valkey_away: None
) -> None:
    assert client.get("/admin/login/").status_code == 200
    assert form(client, "wrong").status_code == 200
    assert form(client, PASSWORD).status_code == 302
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin/search/?s=plan").status_code == 200


def test_a_lock_earned_while_valkey_was_away_outlives_its_return(
    client: Client, root: User, settings: Settings
) -> None:
    alive = settings.CACHES["valkey"]
    settings.CACHES = {**settings.CACHES, "valkey": {**alive, "LOCATION": NOWHERE}}
    caches.close_all()
    for _ in range(5):
        api(client, "wrong")

    settings.CACHES = {**settings.CACHES, "valkey": alive}
    caches.close_all()

    assert api(client, PASSWORD).status_code == 429
    assert api(client, PASSWORD, username="other").status_code == 401


def test_failures_before_and_during_an_outage_add_up(
    client: Client, root: User, settings: Settings
) -> None:
    alive = settings.CACHES["valkey"]
    for _ in range(3):
        api(client, "wrong")

    settings.CACHES = {**settings.CACHES, "valkey": {**alive, "LOCATION": NOWHERE}}
    caches.close_all()
    api(client, "wrong")
    settings.CACHES = {**settings.CACHES, "valkey": alive}
    caches.close_all()

    assert api(client, "wrong").status_code == 429


def test_neither_name_nor_password_of_a_failure_reaches_the_log(
    client: Client, root: User, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(6):
        api(client, "guess-canary", username="name-canary")

    assert "staff_locked_out" in caplog.text
    assert "canary" not in caplog.text
