"""A session of staff ends when nothing happens, and at the end of a day's work in any case."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from config.contract import clock
from tests.backoffice.test_second_factor import enter, fresh_counts
from tests.support.cast import Org

__all__ = ["fresh_counts"]
pytestmark = pytest.mark.django_db

STAFF_ROUTE = "/api/quota/explain?requestId=x"


def seen(client: Client, path: str = "/admin/") -> int:
    return client.get(path).status_code


def after(**length: float) -> Any:
    """Let so much time have passed since now."""
    return time_machine.travel(clock.real_now() + timedelta(**length), tick=False)


@pytest.fixture
def browser(root: User) -> Client:
    client = Client()
    assert enter(client).status_code == 302
    return client


def test_a_session_ends_when_nothing_was_asked_for_half_an_hour(browser: Client) -> None:
    with after(minutes=29):
        assert seen(browser) == 200
    with after(minutes=29 + 31):
        assert seen(browser) == 302
        assert seen(browser, STAFF_ROUTE) == 401


def test_it_ends_at_the_api_too(browser: Client) -> None:
    with after(minutes=31):
        assert seen(browser, STAFF_ROUTE) == 401


def test_each_request_puts_the_end_off(browser: Client) -> None:
    for number in range(1, 10):
        with after(minutes=25 * number):
            path = STAFF_ROUTE if number % 2 else "/admin/acts/"
            assert seen(browser, path) not in (302, 401), number


def test_twelve_hours_after_the_log_in_it_ends_whatever_was_asked(browser: Client) -> None:
    end = clock.real_now() + timedelta(hours=12)
    for quarter in range(1, 48):
        with after(minutes=15 * quarter):
            assert seen(browser, "/admin/acts/") == 200, quarter
    assert Session.objects.get().expire_date <= end
    with after(hours=12, seconds=1):
        assert seen(browser) == 302


def test_both_lengths_are_settings(root: User, settings: Settings) -> None:
    settings.STAFF_SESSION_IDLE = timedelta(minutes=2)
    settings.STAFF_SESSION_LIFE = timedelta(minutes=5)
    browser = Client()
    enter(browser)

    for minutes, status in ((1.9, 200), (3.7, 200), (4.9, 200), (5.1, 302)):
        with after(minutes=minutes):
            assert seen(browser) == status, minutes


def test_a_shorter_life_ends_the_sessions_that_have_had_it(
    browser: Client, settings: Settings
) -> None:
    with after(minutes=20):
        assert seen(browser) == 200
        settings.STAFF_SESSION_LIFE = timedelta(minutes=15)
        assert seen(browser) == 302
        assert not Session.objects.exists()


def test_what_else_is_written_to_a_session_does_not_lengthen_its_life(
    browser: Client, settings: Settings
) -> None:
    for half_hour in range(1, 24):
        with after(minutes=29 * half_hour):
            seen(browser)
    with after(hours=11, minutes=55):
        seen(browser, "/admin/second-factor/")
    with after(hours=12, minutes=1):
        assert seen(browser) == 302


def test_a_new_log_in_begins_a_new_life(browser: Client) -> None:
    with after(hours=13):
        enter(browser)
        assert seen(browser) == 200


def test_a_session_from_before_is_not_endless(browser: Client) -> None:
    session = browser.session
    del session["began_at"], session["seen_at"]
    session.save()

    assert seen(browser) == 200
    assert browser.session["began_at"] == pytest.approx(clock.real_now().timestamp(), abs=5)


def test_the_cookie_ends_with_the_session(browser: Client) -> None:
    with after(minutes=10):
        answer = browser.get("/admin/")

    assert answer.cookies["sessionid"]["max-age"] == 30 * 60


def test_being_seen_is_not_written_at_each_request(
    browser: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    now = clock.real_now() + timedelta(minutes=10)
    with time_machine.travel(now, tick=False):
        seen(browser, "/admin/acts/")
        before = Session.objects.get().session_data
        seen(browser, "/admin/acts/")
        assert Session.objects.get().session_data == before
        # The session and its user.
        with django_assert_num_queries(2):
            seen(browser, "/admin/nothing/at/all")


def test_a_use_and_a_check_ask_for_no_session(
    org: Org, browser: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    body = {"orgId": org.id, "metric": "api_call", "value": 1}

    def check(client: Client) -> None:
        headers = org.headers()
        client.post("/api/quota/check", body, content_type="application/json", headers=headers)

    check(org.client)
    with django_assert_num_queries(0):
        check(browser)
