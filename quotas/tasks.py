"""What is scheduled here."""

from celery import shared_task

from config.contract import clock
from quotas import denial_rows
from quotas.resets import ResetAsked, reset
from quotas.rollover import roll_over


@shared_task
def reset_all(metric: str) -> None:
    """Open the current counters of every active organisation, of one metric or of all."""
    asked = ResetAsked(org_ids=(), metric=metric or None, force=False, reason="")
    reset(asked=asked, who="worker", now=clock.now())


@shared_task
def roll_periods_over() -> None:
    """Open, derive and close periods ahead of the first touch. Nothing depends on it."""
    for _ in roll_over(now=clock.now()):
        pass


@shared_task
def forget_denials() -> None:
    """Delete denials older than `DENIAL_DAYS`."""
    denial_rows.forget(now=clock.now())
