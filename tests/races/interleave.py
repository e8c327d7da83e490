"""Putting two transactions into one exact order, with PostgreSQL's own locks."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import connection, connections

from tests.support.database import superuser

T = TypeVar("T")
_BLOCKED_SECONDS = 5
#: Whoever commits a change of the table waits here. Not for the role's own lock_timeout:
#: a test that is slow must not make the commit fail.
_HOLD = """
CREATE FUNCTION held_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '30s' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({key});
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER held_commit AFTER INSERT OR UPDATE ON {table}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION held_commit();
"""
_HOLD_KEY = 7_302
_WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@contextmanager
def by_hand() -> Iterator["psycopg.Connection[Any]"]:
    """Return a connection of the application's role in a transaction that the test ends."""
    parameters = connection.get_connection_params()
    for owned_by_django in ("cursor_factory", "context", "prepare_threshold", "pool"):
        parameters.pop(owned_by_django, None)
    held = psycopg.connect(**parameters)
    try:
        yield held
    finally:
        held.close()


def in_thread(work: Callable[[], T]) -> "Future[T]":
    """Start `work` in a thread with connections of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the waiting test raises it
            future.set_exception(error)
        finally:
            connections.close_all()

    threading.Thread(target=run, daemon=True).start()
    return future


def all_at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Run all works in threads that start at one barrier; return the results in order."""
    barrier = threading.Barrier(len(works))

    def starting(work: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            barrier.wait(10)
            return work()

        return run

    return [future.result(30) for future in [in_thread(starting(work)) for work in works]]


def wait_until_blocked(so_many: int = 1) -> None:
    """Return when so many sessions of this database wait for a lock."""
    deadline = time.monotonic() + _BLOCKED_SECONDS
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        while (row := admin.execute(_WAITING).fetchone()) is None or row[0] < so_many:
            assert time.monotonic() < deadline, "nobody waits for a lock"
            time.sleep(0.002)  # polling the server's view of who waits


@contextmanager
def commits_held(table: str) -> Iterator[Callable[[], None]]:
    """Let whoever changes rows of a table wait in the middle of its commit; yields the release.

    What the transaction wrote is checked and written, and not committed: nobody may hear of it.
    """
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(_HOLD.format(key=_HOLD_KEY, table=table).encode())
        admin.execute("SELECT pg_advisory_lock(%s)", (_HOLD_KEY,))

        def release() -> None:
            admin.execute("SELECT pg_advisory_unlock_all()")

        try:
            yield release
        finally:
            release()
            admin.execute("DROP FUNCTION held_commit CASCADE")
