"""The hot path's connections: what it hears when PostgreSQL is slow, locked or full."""

from contextlib import ExitStack

import psycopg
import pytest
from django.test import override_settings

from config.contract.errors import Unavailable
from config.contract.hotpool import START_AGAIN, close_pool, fetch, hot_connection
from tests.races.interleave import by_hand, in_thread, wait_until_blocked

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


def test_a_deadlock_goes_through_so_that_the_caller_starts_again() -> None:
    def locking_two_then_one() -> None:
        with hot_connection() as lent, lent.transaction():
            lent.execute("SET LOCAL lock_timeout = 0")
            lent.execute("SELECT pg_advisory_xact_lock(2)")
            lent.execute("SELECT pg_advisory_xact_lock(1)")

    with by_hand() as held:
        held.execute("SET lock_timeout = 0")
        held.execute("SELECT pg_advisory_xact_lock(1)")
        # Waits first, so that PostgreSQL makes it the victim.
        hot = in_thread(locking_two_then_one)
        wait_until_blocked()
        held.execute("SELECT pg_advisory_xact_lock(2)")

    with pytest.raises(psycopg.errors.DeadlockDetected) as error:
        hot.result(5)
    assert error.value.sqlstate in START_AGAIN
