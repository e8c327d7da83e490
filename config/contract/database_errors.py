"""Which errors of PostgreSQL pass by themselves, decided by SQLSTATE and in this one place.

psycopg's classes do not tell: a server that turned read-only is an InternalError
to it, as is a transaction that idled for too long.
"""

import django.db
import psycopg
from psycopg_pool import PoolTimeout

#: Deadlock and serialisation failure: nothing was written, the caller starts again.
START_AGAIN = frozenset({"40P01", "40001"})

#: Whole classes: the connection was lost or refused; no room on disk, in memory or for
#: one more connection; an operator or a time-out intervened; the server's own disk failed.
_PASSING_CLASSES = frozenset({"08", "53", "57", "58"})
_PASSING = START_AGAIN | {
    "25006",  # read-only: a standby, a fail-over, a full disk at some hosters
    "25P03",  # idle in a transaction for too long
    "25P04",  # a transaction took too long
    "40003",  # nobody knows whether it was committed
    "55P03",  # a lock was not given in time
}
#: Without a SQLSTATE it was no answer of the server's: no connection, or none free in time.
_NO_ANSWER = (psycopg.OperationalError, psycopg.InterfaceError)


def passes(error: BaseException) -> bool:
    """Tell whether trying again later may help, and no statement of ours is at fault.

    `error` is psycopg's, or Django's that has it as its cause.
    """
    cause = _cause_of(error)
    if cause is None:
        return isinstance(error, django.db.OperationalError | django.db.InterfaceError)
    if cause.sqlstate is None:
        return isinstance(cause, _NO_ANSWER)
    return cause.sqlstate in _PASSING or cause.sqlstate[:2] in _PASSING_CLASSES


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection is gone, most likely together with its neighbours."""
    cause = _cause_of(error)
    if cause is None or isinstance(cause, PoolTimeout):
        return False
    if cause.sqlstate is None:
        return isinstance(cause, _NO_ANSWER)
    return cause.sqlstate.startswith(("08", "57P"))


def _cause_of(error: BaseException) -> psycopg.Error | None:
    cause = error.__cause__ if isinstance(error, django.db.Error) else error
    return cause if isinstance(cause, psycopg.Error) else None
