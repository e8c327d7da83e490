"""How a process's pools of PostgreSQL connections come back after an outage.

psycopg's pool waits longer and longer between its tries to connect, up to five
minutes: after a long outage it would go on refusing for about as long again.
Here a try that failed is given up after a second, and the next request that
wants a connection, or still waits for one, begins a new one.
"""

from typing import Any

from django.db import connection
from psycopg_pool import ConnectionPool

from config.contract.database_errors import is_lost


def _try_again(pool: "ConnectionPool[Any]") -> None:
    """Begin anew where somebody waits; else the next who wants a connection does."""
    if pool.get_stats().get("requests_waiting"):
        pool.check()


#: For a pool's making: never a pause of more than a second between two tries.
RECONNECT: dict[str, Any] = {"reconnect_timeout": 1.0, "reconnect_failed": _try_again}


def renew_after(error: BaseException) -> None:
    """Replace what Django's pool keeps ready, where an error says that a connection was lost.

    The others were most likely lost with it. Looking at each would be a round trip,
    which a server that hangs does not answer.
    """
    if is_lost(error) and connection.settings_dict["OPTIONS"].get("pool"):
        pool: ConnectionPool[Any] = getattr(connection, "pool")  # noqa: B009 - not of every backend
        pool.drain()
