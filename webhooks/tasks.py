"""What a worker does, rung for or on schedule. Losing every message loses nothing."""

import time

from celery import shared_task

from webhooks import processor

#: Seconds that one sweep may begin new work for: other tasks want the worker too.
_SWEEP_SECONDS = 10.0


@shared_task
def process(*pks: int) -> None:
    """Work on these events now."""
    for pk in pks:
        processor.process_event(pk)


@shared_task
def sweep() -> None:
    """Work on what is due: rings that nobody heard, failures to try again, leases of the dead."""
    end = time.monotonic() + _SWEEP_SECONDS
    while time.monotonic() < end and processor.process_next():
        pass
