"""What is scheduled here."""

from celery import shared_task

from config.contract import clock
from quotas.resets import ResetAsked, reset
from quotas.rollover import open_early


@shared_task
def reset_all(metric: str) -> None:
    """Open the current counters of every active organisation, of one metric or of all."""
    asked = ResetAsked(org_ids=(), metric=metric or None, force=False, reason="")
    reset(asked=asked, who="worker", now=clock.now())


@shared_task
def open_periods_early() -> None:
    """Open the current periods of everyone who has none yet. Nothing depends on it."""
    open_early(now=clock.now())
