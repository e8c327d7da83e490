"""Whether work that is due is being done, and a worker's end where it is not by its own fault."""

import os
import sys
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery.signals import task_received, worker_ready
from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.db.models import Min

from config.contract import clock
from config.contract.doorbell import ring
from webhooks.models import WebhookEvent

logger = structlog.get_logger("metergate.worker")

#: Work that is due for so long, while nobody works on any, is told of.
STUCK = timedelta(seconds=30)
#: Seconds between two looks of a worker at itself.
_LOOK = 2.0
#: Exit code of a worker that made no progress (EX_SOFTWARE).
NO_PROGRESS = 70


def overdue(*, now: datetime) -> timedelta:
    """Return for how long the oldest event that nobody works on has been due, in real time."""
    oldest = WebhookEvent.objects.due(now).aggregate(at=Min("due_at"))["at"]
    return max(timedelta(0), now - oldest) if oldest else timedelta(0)


def trouble(*, now: datetime) -> str:
    """Return what is wrong with the workers, as the rest of a sentence, or nothing."""
    late = overdue(now=now)
    waiting = WebhookEvent.objects.filter(state=WebhookEvent.State.PENDING)
    if late < STUCK or waiting.filter(lease_until__gt=now).exists():
        return ""
    return f"makes no progress: work has been due for {late.total_seconds():.0f} s"


class Watchdog:
    """Ends this worker when work is due, it was rung for, and it hears nothing.

    Whatever the reason (a slot or a subscription lost with a connection, an event
    loop that hangs): what starts workers starts another, which knows none of it.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._heard_at = time.monotonic()
        self._rung_at: float | None = None

    def hear(self) -> None:
        """Note that a message came."""
        self._heard_at = time.monotonic()
        self._rung_at = None

    def is_stuck(self, late: timedelta, *, busy: bool, rung: bool) -> bool:
        """Judge by the age of the oldest due work; `rung` says the broker took a message now."""
        now = time.monotonic()
        if late.total_seconds() < self.patience / 2 or not rung:
            self._rung_at = None
            return False
        if self._rung_at is None:
            self._rung_at = now
        # A task in hand ends by its time limit at the latest.
        patience = settings.CELERY_TASK_TIME_LIMIT + self.patience if busy else self.patience
        return now - max(self._rung_at, self._heard_at) > patience

    def watch(self) -> None:
        """Look again and again, until the end of the process."""
        while True:
            time.sleep(_LOOK)
            try:
                close_old_connections()
                late = overdue(now=clock.real_now())
                rung = late.total_seconds() >= self.patience / 2 and _ring()
            except (DatabaseError, InterfaceError):
                continue  # nothing can be done now, by nobody
            if self.is_stuck(late, busy=bool(state.active_requests), rung=rung):
                logger.error("worker_makes_no_progress", overdue_seconds=late.total_seconds())
                sys.stderr.flush()
                os._exit(NO_PROGRESS)


def _ring() -> bool:
    from webhooks.tasks import sweep

    return ring(sweep)


@worker_ready.connect
def _start(**_: Any) -> None:
    watchdog = Watchdog(settings.WORKER_PATIENCE)
    task_received.connect(lambda **_: watchdog.hear(), weak=False)
    threading.Thread(target=watchdog.watch, name="watchdog", daemon=True).start()
