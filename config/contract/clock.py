"""The only clock of domain code.

In sandbox mode one offset per installation, kept in the database, moves it, so
that a month can pass in a second. Tokens, leases and throttles protect real
time and use `real_now`.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection

#: Seconds for which a process trusts the offset it last read.
_OFFSET_TTL = 0.5

_lock = threading.Lock()
_offset = timedelta(0)
_read_at = float("-inf")


def real_now() -> datetime:
    """Return the real instant, in UTC, whatever the sandbox clock says."""
    return datetime.now(UTC)


def now() -> datetime:
    """Return the instant that domain rules count by, in UTC."""
    if not settings.CLOCK_MAY_MOVE:
        return datetime.now(UTC)
    return datetime.now(UTC) + _current_offset()


def set_offset(seconds: float) -> None:
    """Move the installation's clock to `seconds` ahead of real time.

    Raises RuntimeError where the installation charges real money.
    """
    from config.contract.models import Installation

    if not settings.CLOCK_MAY_MOVE:
        raise RuntimeError("The clock moves only in sandbox mode")
    Installation.objects.filter(pk=Installation.ONLY).update(clock_offset_seconds=seconds)
    forget_offset()


def offset_seconds() -> float:
    """Return how far the installation's clock is ahead of real time, in seconds."""
    return _current_offset().total_seconds() if settings.CLOCK_MAY_MOVE else 0.0


def forget_offset() -> None:
    """Read the offset again at the next call (it was changed, or a test ended)."""
    global _read_at
    _read_at = float("-inf")


def _current_offset() -> timedelta:
    global _offset, _read_at
    if time.monotonic() - _read_at < _OFFSET_TTL:
        return _offset
    # One reader refreshes; the others go on with the value of half a second ago.
    if _lock.acquire(blocking=_read_at == float("-inf")):
        try:
            _offset = timedelta(seconds=_read_offset())
            _read_at = time.monotonic()
        finally:
            _lock.release()
    return _offset


def _read_offset() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_offset_seconds FROM contract_installation WHERE id = 1")
        row = cursor.fetchone()
    return float(row[0]) if row else 0.0
