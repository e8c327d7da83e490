"""Connections and the schema: made at start, safe to make again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from billing.sandbox.config import Config

Connection = psycopg.Connection[DictRow]

_SCHEMA = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
_TABLES = ("objects", "idempotency", "outbox", "faults", "settings")
#: Any constant will do; it keeps two starting processes from creating tables at once.
_SETUP_LOCK = 0x5A5D_B0B1


class Database:
    """The sandbox's own database, or its own schema in a shared one."""

    def __init__(self, config: Config) -> None:
        self._schema = sql.Identifier(config.schema)
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            config.database_url,
            kwargs={"row_factory": dict_row},
            min_size=1,
            # One for each request thread, one for the clock, one for deliveries.
            max_size=18,
            timeout=30,
            configure=self._configure,
            open=False,
        )

    def _configure(self, connection: Connection) -> None:
        connection.execute(sql.SQL("SET search_path TO {}").format(self._schema))
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    def open(self) -> None:
        """Connect and make what is missing."""
        self._pool.open(wait=True)
        with self.transaction() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(self._schema))
            connection.execute(_SCHEMA)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def empty(self) -> None:
        """Forget everything (tests)."""
        with self.transaction() as connection:
            for table in _TABLES:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))

    def drop(self) -> None:
        """Remove the schema with all it holds (tests)."""
        with self.transaction() as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(self._schema))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One READ COMMITTED transaction: committed at the end, undone by an exception."""
        with self._pool.connection() as connection, connection.transaction():
            yield connection


def lock(connection: Connection, name: str) -> None:
    """Wait for the lock `name` and hold it until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def try_lock(connection: Connection, name: str) -> bool:
    """Take the lock `name` for this transaction, or return False at once."""
    row: Any = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS taken", [name]
    ).fetchone()
    return bool(row["taken"])
