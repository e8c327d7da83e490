"""Reading several tables as of one instant, with time for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

#: Seconds that one statement may take: what workers have, also where a request reads.
SECONDS = 30


@contextmanager
def one_snapshot(*, seconds: float | None = SECONDS) -> Iterator[None]:
    """Read everything within as of one instant; nothing can be written.

    `seconds` bound each statement, not all of them (None: no bound); one that takes longer
    raises OperationalError. While it is open PostgreSQL cannot clean up behind busy rows
    (docs/operations.md), so do nothing else in it. Raises RuntimeError within another
    transaction.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        bound_statements(seconds)
        yield


def bound_statements(seconds: float | None) -> None:
    """Bound each of the transaction's statements from now on (None: no bound)."""
    milliseconds = 0 if seconds is None else max(1, round(seconds * 1000))
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])
