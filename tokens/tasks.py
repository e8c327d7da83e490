"""What is scheduled here."""

from celery import shared_task

from config.contract import clock
from tokens.cleanup import forget


@shared_task
def forget_expired() -> None:
    """Delete codes, refresh tokens and families that are over, and old log-ins of staff."""
    forget(now=clock.real_now())
