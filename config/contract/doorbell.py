"""Ringing for a worker: after commit, ids only, and silent when nobody hears it.

Everything a task does is found again in the database by a sweeper; a message
that is lost costs seconds, never work.
"""

import time
from typing import Any

import structlog
from celery import Task
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

logger = structlog.get_logger("metergate.doorbell")
#: Seconds for which nobody rings after a ring that nobody heard: a broker that
#: hangs must not cost every request its time-out.
SILENCE = 1.0
_silent_until = float("-inf")


def ring(task: "Task[Any, Any]", *ids: int | str) -> bool:
    """Ask a worker to look at `ids` now. Returns whether the broker took it."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        task.apply_async(args=ids, retry=False, ignore_result=True)
    except (OperationalError, KombuError, RedisError, OSError) as error:
        _silent_until = time.monotonic() + SILENCE
        logger.warning("doorbell_silent", task=task.name, error=type(error).__name__)
        return False
    return True
