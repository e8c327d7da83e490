"""The hot path's own PostgreSQL connections: autocommit, server-side binding, prepared.

Django's connection binds on the client (history triggers need it) and pays for
its ORM's generality; one statement on the hot path needs neither.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.db import connection
from psycopg_pool import ConnectionPool, PoolTimeout

from config.contract.errors import Unavailable

#: Deadlock and serialisation failure: nothing was written, the caller starts again.
START_AGAIN = frozenset({"40P01", "40001"})

_lock = threading.Lock()
_pool: ConnectionPool | None = None
_pool_pid: int | None = None


@contextmanager
def hot_connection() -> Iterator[psycopg.Connection]:
    """Lend an autocommit connection.

    Raises Unavailable when none is free in time, when the database is away, and
    when a lock or a statement took too long (START_AGAIN goes through as it is):
    nothing was committed then, except
    after a connection lost between commit and answer, where the caller's repeat
    with the same request id is answered from the ledger.
    """
    try:
        with _current_pool().connection(timeout=2) as lent:
            yield lent
    except PoolTimeout:
        raise Unavailable from None
    except psycopg.OperationalError as error:
        if error.sqlstate in START_AGAIN:
            raise
        raise Unavailable from None


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
            _pool = ConnectionPool(
                kwargs={**parameters, "autocommit": True, "prepare_threshold": 0},
                min_size=0,
                max_size=settings.HOT_POOL_SIZE,
                max_idle=300,
                timeout=2,
                open=True,
                name="hot",
            )
            _pool_pid = os.getpid()
        return _pool
