"""What is scheduled here."""

from celery import shared_task

from config.backoffice.exports import service
from config.contract import clock
from config.contract.doorbell import ring


@shared_task
def write_export(pk: int) -> None:
    """Write an export for one turn; what is left has another turn after those that wait."""
    if not service.write(pk):
        ring(write_export, pk)


@shared_task
def finish_exports() -> None:
    """Go on with the exports that nobody is at: a message or a worker was lost."""
    for pk in service.unfinished(now=clock.real_now()):
        ring(write_export, pk)


@shared_task
def forget_exports() -> None:
    """Delete the files whose time is over."""
    service.forget(now=clock.real_now())
