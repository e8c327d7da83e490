"""Each log-in of staff, each failure and each lock-out is a row, with name and address."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from pytest_django import Settings

from config.contract import clock
from tests.backoffice.conftest import PASSWORD
from tests.backoffice.test_lockout import api, form, fresh_counts
from tokens.cleanup import forget, forgettable
from tokens.models import StaffLogIn
from tokens.tasks import forget_expired

__all__ = ["fresh_counts"]
pytestmark = pytest.mark.django_db


def rows() -> list[tuple[Any, ...]]:
    shown = ("outcome", "username", "address", "door")
    return list(StaffLogIn.objects.order_by("pk").values_list(*shown))


def test_a_log_in_is_a_row_at_both_doors(client: Client, root: User) -> None:
    form(client, PASSWORD, REMOTE_ADDR="192.0.2.1")
    api(client, PASSWORD, REMOTE_ADDR="192.0.2.2")

    assert rows() == [
        ("logged_in", "root", "192.0.2.1", "page"),
        ("logged_in", "root", "192.0.2.2", "api"),
    ]
    assert set(StaffLogIn.objects.values_list("who", flat=True)) == {f"staff:{root.pk}"}
    assert "" not in StaffLogIn.objects.values_list("request_id", flat=True)


def test_each_failure_and_the_lock_out_are_rows_at_both_doors(client: Client, root: User) -> None:
    for attempt, door in ((form, "page"), (api, "api")):
        for _ in range(6):
            attempt(client, "wrong", REMOTE_ADDR=f"192.0.2.{len(door)}")

    for door in ("page", "api"):
        outcomes = [row[0] for row in rows() if row[3] == door]
        assert outcomes == ["failed"] * 5 + ["locked_out"], door
    assert {row[1] for row in rows()} == {"root"}


def test_who_does_not_exist_and_who_is_no_staff_are_rows_too(client: Client) -> None:
    User.objects.create_user("guest", password=PASSWORD)

    api(client, "wrong", username="nobody")
    no_staff = api(client, PASSWORD, username="guest")

    assert no_staff.status_code == 401
    assert [row[:2] for row in rows()] == [("failed", "nobody"), ("failed", "guest")]


@pytest.mark.parametrize("username", ["a\x00b", "a\ud800b", "n" * 5000])
def test_a_name_that_no_column_holds_is_answered_and_changes_nothing_else(
    client: Client, username: str
) -> None:
    assert api(client, "wrong", username=username).status_code in {400, 401, 422}


def test_a_name_is_counted_across_addresses_at_page_and_api(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_FAILURES_PER_NAME = "6/day"

    answers = [
        (form if number % 2 else api)(client, "wrong", REMOTE_ADDR=f"192.0.2.{number}").status_code
        for number in range(6)
    ]

    assert answers == [401, 200, 401, 200, 401, 429]
    for attempt in (form, api):
        right = attempt(client, PASSWORD, REMOTE_ADDR="198.51.100.9")
        assert right.status_code == 429
        assert int(right.headers["Retry-After"]) > 0
    assert [row[0] for row in rows()] == ["failed"] * 6 + ["locked_out"]


def test_an_address_is_counted_across_names_at_page_and_api(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_FAILURES_PER_ADDRESS = "6/day"

    answers = [api(client, "wrong", username=f"name{n}").status_code for n in range(6)]

    assert answers == [401] * 5 + [429]
    assert (form(client, PASSWORD).status_code, api(client, PASSWORD).status_code) == (429, 429)
    assert api(client, PASSWORD, REMOTE_ADDR="192.0.2.7").status_code == 200


def test_addresses_of_one_network_of_ipv6_are_one(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_FAILURES_PER_ADDRESS = "3/day"

    answers = [
        api(client, "wrong", username=f"n{n}", REMOTE_ADDR=f"2001:db8::{n}").status_code
        for n in range(1, 4)
    ]

    assert answers == [401, 401, 429]


def test_a_log_in_does_not_forget_the_slow_counts(
    client: Client, root: User, settings: Settings
) -> None:
    settings.STAFF_FAILURES_PER_NAME = "3/day"
    for _ in range(2):
        api(client, "wrong")
    assert api(client, PASSWORD).status_code == 200

    assert api(client, "wrong", REMOTE_ADDR="192.0.2.7").status_code == 429


def test_a_command_lets_a_name_in_again(client: Client, root: User, settings: Settings) -> None:
    settings.STAFF_FAILURES_PER_NAME = "3/day"
    for number in range(3):
        api(client, "wrong", REMOTE_ADDR=f"192.0.2.{number}")
    assert api(client, PASSWORD).status_code == 429

    call_command("axes_reset_username", "root", verbosity=0)

    assert api(client, PASSWORD).status_code == 200


@pytest.mark.parametrize(
    "statement", ["UPDATE tokens_stafflogin SET username = ''", "DELETE FROM tokens_stafflogin"]
)
def test_rows_are_neither_changed_nor_deleted(client: Client, root: User, statement: str) -> None:
    api(client, "wrong")

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def log_in_of(days: float) -> StaffLogIn:
    return StaffLogIn.objects.create(
        at=clock.real_now() - timedelta(days=days),
        outcome=StaffLogIn.Outcome.FAILED,
        username=f"{days} days ago",
        address="192.0.2.1",
        door=StaffLogIn.Door.PAGE,
    )


@pytest.mark.parametrize("batch", [1, 5000])
def test_rows_are_forgotten_after_a_year_by_the_hourly_clean_up(batch: int) -> None:
    for days in (1, 364, 366, 400):
        log_in_of(days)
    now = clock.real_now()

    foretold = forgettable(now=now)
    gone = forget(now=now, batch=batch)

    assert (foretold.staff_log_ins, gone.staff_log_ins) == (2, 2)
    assert [row[1] for row in rows()] == ["1 days ago", "364 days ago"]


def test_how_long_is_a_setting_and_beat_does_it(settings: Settings) -> None:
    settings.STAFF_LOG_IN_AGE = timedelta(days=100)
    for days in (99, 101):
        log_in_of(days)

    forget_expired()

    assert [row[1] for row in rows()] == ["99 days ago"]


def test_what_is_fresh_is_not_forgotten_whoever_asks() -> None:
    log_in_of(89)

    with connection.cursor() as cursor:
        cursor.execute("SELECT tokens_forget_staff_log_ins(now() + interval '1 year', 100)")
        assert cursor.fetchone() == (0,)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tokens_stafflogin")
    assert len(rows()) == 1


def test_the_applications_role_deletes_nothing_by_itself() -> None:
    log_in_of(400)

    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('metergate_app', 'tokens_stafflogin', 'DELETE')")
        assert cursor.fetchone() == (False,)
