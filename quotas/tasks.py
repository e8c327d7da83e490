"""What is scheduled here."""

import time

from celery import shared_task

from config.contract import clock
from config.contract.doorbell import ring
from quotas import denial_rows
from quotas.resets import open_current
from quotas.rollover import roll_over

#: Seconds that one run may begin new work for, well inside a task's time limit.
_SWEEP_SECONDS = 60.0


@shared_task
def reset_all(metric: str) -> None:
    """Open the current counters of every active organisation, of one metric or of all."""
    end = time.monotonic() + _SWEEP_SECONDS
    for _ in open_current(org_ids=(), metric=metric or None, now=clock.now()):
        if time.monotonic() > end:
            # Whoever is open is passed over quickly the next time.
            ring(reset_all, metric)
            return


@shared_task
def roll_periods_over() -> None:
    """Open, derive and close periods ahead of the first touch. Nothing depends on it."""
    end = time.monotonic() + _SWEEP_SECONDS
    for _ in roll_over(now=clock.now()):
        if time.monotonic() > end:
            ring(roll_periods_over)
            return


@shared_task
def forget_denials() -> None:
    """Delete denials older than `DENIAL_DAYS`."""
    denial_rows.forget(now=clock.now())
