"""What a worker does, rung for or on schedule. Losing every message loses nothing."""

import time
from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_ready
from django.conf import settings

from billing import convergence
from billing.models import Organization
from config.contract import clock
from config.contract.doorbell import ring
from config.contract.errors import ApiError
from webhooks import gaps, overdue, processor, progress, reconciliation, retention

logger = structlog.get_logger("metergate.webhooks")
__all__ = ["progress"]  # its signals: each worker watches itself

#: Seconds for which one run begins new work: other tasks want the worker too.
_SWEEP_SECONDS = 10.0
_RUN_SECONDS = 60.0
_PAGE = 100


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


@shared_task
def ask_overdue() -> None:
    """Ask Stripe about trials and changes whose time came without a word.

    Where another subscription leads by time alone, it grants at once: it needs no
    word of Stripe's.
    """
    overdue.ask(now=clock.now())
    convergence.hand_over(now=clock.now())


@shared_task
def fill_gaps() -> None:
    """Take in the events that Stripe lists and nobody delivered."""
    try:
        filled = gaps.fill(now=clock.now(), seconds=_RUN_SECONDS)
    except ApiError as error:
        # Where it got to is noted; the next run goes on from there.
        logger.warning("webhook_gaps_wait", code=error.code)
        return
    if filled is None:
        return
    gaps.give_outages_another_round()
    if not filled.complete:
        # Its time was over: no success, but where it got to is noted.
        logger.warning("webhook_gaps_unfinished", taken_in=filled.taken_in, listed=filled.listed)
        ring(fill_gaps)


@shared_task
def reconcile(after: int = 0) -> None:
    """Compare organisations with Stripe, mending what is safe; goes on in another message."""
    end = time.monotonic() + _RUN_SECONDS
    page = Organization.objects.filter(pk__gt=after).order_by("pk")[:_PAGE]
    for organization in page:
        try:
            found = reconciliation.reconcile(organization, repair=True)
        except ApiError as error:
            logger.warning("reconciliation_waits", tenant_id=organization.org_id, code=error.code)
            found = []
        for finding in found:
            if not finding.repaired:
                logger.error("reconciliation_differs", tenant_id=finding.org_id, kind=finding.kind)
        after = organization.pk
        if time.monotonic() > end:
            break
    if Organization.objects.filter(pk__gt=after).exists():
        ring(reconcile, after)
        return
    for finding in reconciliation.loose_ends():
        logger.error("reconciliation_differs", tenant_id=finding.org_id or None, kind=finding.kind)


@shared_task
def forget_payloads() -> None:
    """Drop what old events said; that they came stays."""
    limit = clock.now() - settings.WEBHOOK_PAYLOAD_AGE
    retention.forget_payloads(received_before=limit)


@worker_ready.connect
def _catch_up(**_: Any) -> None:
    """Compare at start: a worker that was away may have missed what nobody stored."""
    ring(fill_gaps)
