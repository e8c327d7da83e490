"""Valkey and PostgreSQL away, for real: their clients knock where nobody listens."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from config.contract.clients import clients
from config.contract.copy import OrgCopy
from config.contract.hotpool import close_pool

#: The discard port: refused at once.
_NOBODY = 9


@contextmanager
def no_valkey() -> Iterator[OrgCopy]:
    """Let this process find no Valkey for the copy."""
    copy = OrgCopy(f"redis://127.0.0.1:{_NOBODY}/0")
    try:
        with clients.swapped("copy", copy):
            yield copy
    finally:
        copy.close()


@contextmanager
def no_database() -> Iterator[None]:
    """Let this process find no PostgreSQL."""
    there = {key: connection.settings_dict[key] for key in ("HOST", "PORT")}
    _reconnect(HOST="127.0.0.1", PORT=str(_NOBODY))
    try:
        yield
    finally:
        _reconnect(**there)


def _reconnect(**where: str) -> None:
    close_pool()
    connection.close()
    connection.settings_dict.update(where)
