"""What was turned away is counted, and told once a second, however much it is."""

import threading
import time

import structlog

from config.contract import metrics

logger = structlog.get_logger("metergate.edge")

_lock = threading.Lock()
_silent_until: dict[str, float] = {}
_unsaid: dict[str, int] = {}


def count_refusal(reason: str, status: int) -> None:
    """Count a request that was answered before any work was done."""
    metrics.TURNED_AWAY.labels(reason).inc()
    now = time.monotonic()
    with _lock:
        _unsaid[reason] = _unsaid.get(reason, 0) + 1
        if now < _silent_until.get(reason, 0.0):
            return
        _silent_until[reason] = now + 1.0
        times = _unsaid.pop(reason)
    structlog.contextvars.clear_contextvars()  # of whom this thread served before
    logger.warning("turned_away", reason=reason, status=status, times=times)
