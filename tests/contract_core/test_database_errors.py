"""Errors of the database by class: which pass by themselves, whoever reports them."""

import django.db
import psycopg
import pytest
from django.db import connection
from psycopg_pool import PoolTimeout

from config.contract.database_errors import is_lost, passes

pytestmark = pytest.mark.django_db(transaction=True)

PASSING = [
    *("08000", "08006", "08P01", "25006", "25P03", "25P04", "40001", "40003", "40P01"),
    *("53000", "53100", "53200", "53300", "53400", "55P03"),
    *("57014", "57P01", "57P02", "57P03", "57P05", "58000", "58030"),
]
OURS = ["22001", "22003", "22P02", "23505", "23514", "25P02", "42501", "42P01", "42703", "XX000"]


def raised_by_django(sqlstate: str) -> BaseException:
    try:
        with connection.cursor() as cursor:
            cursor.execute(failing_with(sqlstate))
    except django.db.Error as error:
        return error
    raise AssertionError(sqlstate)


def raised_by_psycopg(sqlstate: str) -> BaseException:
    error: psycopg.Error = psycopg.errors.lookup(sqlstate)()
    return error


def failing_with(sqlstate: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"


@pytest.mark.parametrize("sqlstate", PASSING)
def test_what_no_statement_of_ours_is_to_blame_for_passes(sqlstate: str) -> None:
    assert passes(raised_by_django(sqlstate))


@pytest.mark.parametrize("sqlstate", OURS)
def test_a_fault_of_ours_does_not_pass(sqlstate: str) -> None:
    assert not passes(raised_by_django(sqlstate))
    assert not passes(raised_by_psycopg(sqlstate))


def test_without_a_word_of_the_server_it_was_the_connection() -> None:
    assert passes(psycopg.OperationalError("connection refused"))
    assert passes(psycopg.InterfaceError("the connection is closed"))
    assert passes(PoolTimeout("couldn't get a connection"))
    assert passes(django.db.OperationalError("connection refused"))
    assert not passes(psycopg.ProgrammingError("the query has 1 placeholder"))
    assert not passes(ValueError())


def test_a_pool_that_is_empty_has_lost_no_connection() -> None:
    assert not is_lost(PoolTimeout("couldn't get a connection"))
    assert not is_lost(raised_by_psycopg("53300"))
    assert is_lost(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert is_lost(raised_by_psycopg("57P01"))
