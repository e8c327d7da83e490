"""The hot path's own PostgreSQL connections: autocommit, server-side binding, prepared.

Django's connection binds on the client (history triggers need it) and pays for
its ORM's generality; one statement on the hot path needs neither.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg_pool import ConnectionPool

from config.contract import pools
from config.contract.database_errors import START_AGAIN, passes
from config.contract.errors import Unavailable

#: What the hot path asks of each connection, beside what the settings ask.
#: A function's statements are planned once and not again for each call: with
#: arrays as arguments PostgreSQL would find that worth the time, and it is not.
#: Such a plan may be made while a table is small, when reading it whole is cheapest,
#: and be used while it grows: every statement here has an index to go by.
_OPTIONS = " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"


class ConnectionLost(Unavailable):
    """The server, or what lies between, ended the connection in the middle of a statement."""


_lock = threading.Lock()
_pool: ConnectionPool | None = None
_pool_pid: int | None = None


@contextmanager
def hot_connection() -> Iterator[psycopg.Connection]:
    """Lend an autocommit connection.

    Raises Unavailable for what passes by itself (config.contract.database_errors; but
    START_AGAIN goes through as it is): nothing was committed then. Where the
    connection itself was lost (ConnectionLost) nobody knows; a repeat with the same
    request id is answered from the ledger.
    """
    lent: psycopg.Connection | None = None
    try:
        with _current_pool().connection(timeout=2) as lent:
            yield lent
    except psycopg.Error as error:
        if error.sqlstate in START_AGAIN or not passes(error):
            raise
        if lent is None or not lent.closed:
            raise Unavailable from None
        # Its idle neighbours were most likely lost with it.
        _current_pool().drain()
        raise ConnectionLost from None


def fetch(statement: str, arguments: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run one statement as one transaction and return its rows.

    The statement must be harmless to run twice: when the connection turns out to
    be lost (the server restarted, a proxy hung up), it is run once more on
    another. Raises what `hot_connection` does.
    """
    with suppress(ConnectionLost), hot_connection() as lent:
        return lent.execute(statement, arguments).fetchall()
    with hot_connection() as lent:
        return lent.execute(statement, arguments).fetchall()


def array_of(items: Iterable[str]) -> str:
    """Return texts as PostgreSQL writes an array, for a parameter cast to one.

    psycopg's own way is general, and took a sixth of a batch's time. Inside
    double quotes only `"` and the backslash mean anything.
    """
    quoted = [item.replace("\\", "\\\\").replace('"', '\\"') for item in items]
    return '{"' + '","'.join(quoted) + '"}' if quoted else "{}"


def close_pool() -> None:
    """Close all connections (tests between databases, process end)."""
    global _pool
    with _lock:
        if _pool is not None and _pool_pid == os.getpid():
            _pool.close()
        _pool = None


def _current_pool() -> ConnectionPool:
    # A pool does not survive a fork: its threads stay with the parent.
    global _pool, _pool_pid
    if _pool is not None and _pool_pid == os.getpid():
        return _pool
    with _lock:
        if _pool is None or _pool_pid != os.getpid():
            parameters = connection.get_connection_params()
            for owned_by_django in ("cursor_factory", "context", "prepare_threshold"):
                parameters.pop(owned_by_django, None)
            parameters.pop("pool", None)
            parameters["options"] = parameters.get("options", "") + _OPTIONS
            _pool = ConnectionPool(
                kwargs={**parameters, "autocommit": True, "prepare_threshold": 0},
                min_size=0,
                max_size=settings.HOT_POOL_SIZE,
                max_idle=300,
                timeout=2,
                open=True,
                name="hot",
                **pools.RECONNECT,
            )
            _pool_pid = os.getpid()
        return _pool
