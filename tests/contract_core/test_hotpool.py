"""The hot path's connections: what it hears when PostgreSQL is slow, locked or full."""

from contextlib import ExitStack

import psycopg
import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from config.contract.database_errors import START_AGAIN
from config.contract.errors import Unavailable
from config.contract.hotpool import array_of, close_pool, fetch, hot_connection
from tests.races.interleave import by_hand

pytestmark = pytest.mark.django_db(transaction=True)

_LOCK = "SELECT 1 FROM contract_installation WHERE id = 1 FOR UPDATE"


def test_a_statement_is_committed_by_itself() -> None:
    [(level,)] = fetch("SELECT current_setting('synchronous_commit')", ())
    [(own,)] = fetch("SELECT pg_current_xact_id_if_assigned() IS NULL", ())

    assert (level, own) == ("on", True)


def test_statements_are_planned_once() -> None:
    assert fetch("SELECT current_setting('plan_cache_mode')", ()) == [("force_generic_plan",)]


def test_a_lock_that_is_not_given_in_time_is_unavailable() -> None:
    with by_hand() as held:
        held.execute(_LOCK)

        with pytest.raises(Unavailable) as refusal:
            fetch(_LOCK, ())

    assert refusal.value.status == 503
    assert "Retry-After" in refusal.value.headers
    assert fetch("SELECT 1", ()) == [(1,)]


def test_a_pool_that_has_none_left_is_unavailable() -> None:
    close_pool()
    with override_settings(HOT_POOL_SIZE=1), ExitStack() as taken:
        taken.enter_context(hot_connection())

        with pytest.raises(Unavailable):
            fetch("SELECT 1", ())
    close_pool()


def failing_with(sqlstate: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"


@pytest.mark.parametrize("sqlstate", sorted(START_AGAIN))
def test_a_deadlock_goes_through_so_that_the_caller_starts_again(sqlstate: str) -> None:
    with pytest.raises(psycopg.OperationalError) as error:
        fetch(failing_with(sqlstate), ())

    assert error.value.sqlstate == sqlstate


@pytest.mark.parametrize(
    "sqlstate", ["08006", "25006", "25P03", "53100", "53300", "55P03", "57014", "57P03", "58030"]
)
def test_what_passes_by_itself_is_unavailable(sqlstate: str) -> None:
    with pytest.raises(Unavailable):
        fetch(failing_with(sqlstate), ())


def test_a_fault_of_ours_stays_one() -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        fetch(failing_with("23514"), ())


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["a", "b"],
        ['"', "\\", '\\"', '"\\', "\\\\"],
        ["{}", ",", "NULL", "null", " ", "a b\n\t", "'", "é", "\U0001f600", "%s", "$1", "\\x00"],
    ],
)
def test_an_array_arrives_as_it_was_sent(texts: list[str]) -> None:
    assert fetch("SELECT %s::text[]", (array_of(texts),)) == [(texts,)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))))
def test_any_texts_arrive_as_they_were_sent(texts: list[str]) -> None:
    assert fetch("SELECT %s::text[]", (array_of(texts),)) == [(texts,)]
