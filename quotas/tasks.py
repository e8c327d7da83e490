"""What is scheduled here."""

from celery import shared_task

from config.contract import clock
from quotas.rollover import open_early


@shared_task
def open_periods_early() -> None:
    """Open the current periods of everyone who has none yet. Nothing depends on it."""
    open_early(now=clock.now())
