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

from billing import backlog
from config.contract import clock
from config.contract.doorbell import ring
from webhooks.models import WebhookEvent

logger = structlog.get_logger("metergate.worker")

#: Kinds of work that are due for so long, while nobody works on any, are told of. What is
#: not an event is looked for every few seconds, and may wait for others' mail servers.
STUCK = timedelta(seconds=30)
STUCK_OF_OTHERS = timedelta(minutes=2)
_EVENTS = "events"
#: Seconds between two looks of a worker at itself.
_LOOK = 2.0
#: Times its patience for which a worker may hear nothing where nothing is due. Beat rings
#: every other second, and the broker hands its messages to the worker that waits longest.
_SILENCE = 8
#: Exit code of a worker that made no progress (EX_SOFTWARE).
NO_PROGRESS = 70


def overdue(*, now: datetime) -> dict[str, timedelta]:
    """Return for how long the oldest work of each kind has been due, in real time.

    What somebody works on is not due; a kind of which nothing is due has no entry.
    """
    events = backlog.first(_EVENTS, WebhookEvent.objects.due(now), "due_at", now)
    return {kind: now - at for kind, at in events.union(*backlog.oldest(now=now), all=True)}


def trouble(*, now: datetime) -> str:
    """Return what is wrong with the workers, as the rest of a sentence, or nothing."""
    for kind, late in overdue(now=now).items():
        if late < (STUCK if kind == _EVENTS else STUCK_OF_OTHERS):
            continue
        waiting = WebhookEvent.objects.filter(state=WebhookEvent.State.PENDING)
        if kind == _EVENTS and waiting.filter(lease_until__gt=now).exists():
            continue
        return f"makes no progress: {kind} have been due for {late.total_seconds():.0f} s"
    return ""


class Watchdog:
    """Ends this worker when work is due, it was rung for, and it hears nothing.

    Where nothing is due but it heard nothing for long, a ring is to tell: what it is deaf
    for may be work that is looked for by the clock alone. Whatever the reason (a slot or a
    subscription lost with a connection, an event loop that hangs): what starts workers
    starts another, which knows none of it.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._heard_at = time.monotonic()
        self._rung_at: float | None = None

    def hear(self) -> None:
        """Note that a message came."""
        self._heard_at = time.monotonic()
        self._rung_at = None

    def is_worried(self, late: timedelta) -> bool:
        """Tell whether it is time to ring, by the age of the oldest due work."""
        silent = time.monotonic() - self._heard_at
        return late.total_seconds() >= self.patience / 2 or silent > _SILENCE * self.patience

    def is_stuck(self, late: timedelta, *, busy: bool, rung: bool) -> bool:
        """Judge by the age of the oldest due work; `rung` says the broker took a message now."""
        now = time.monotonic()
        if not self.is_worried(late) or not rung:
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
                late = max(overdue(now=clock.real_now()).values(), default=timedelta(0))
                rung = self.is_worried(late) and _ring()
            except (DatabaseError, InterfaceError):
                continue  # nothing can be done now, by nobody
            except Exception:
                # Whatever it is: a worker that nobody watches any more could be deaf for ever.
                logger.exception("watchdog_failed")
                continue
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
