"""Doing early what the first touch of a new period would do anyway.

Opens current counters, derives those whose entitlement changed by time alone,
and closes periods that take no more events. Nothing depends on it having run:
it may crash, run twice, or run in parallel with itself. Work is done in pages, each
its own short transaction, so that memory does not grow with the organisations.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, transaction

from config.contract import metrics
from quotas import counters, opening, rules
from quotas.models import Overage, UsageCounter

logger = structlog.get_logger("metergate.rollover")
_PAGE = 500
#: So many broken organisations are named; the rest are counted.
_MOST_NAMED = 100

# Found by `usage_counter_to_close`. One that somebody counts in is skipped: the next
# run closes it.
_CLOSE = """
WITH over AS (
    SELECT id FROM quotas_usagecounter
     WHERE closed_at IS NULL AND period_end <= %(latest)s
       AND period_end <= CASE overage WHEN 'allow' THEN %(allow)s ELSE %(block)s END
       AND (%(all)s OR org_id = ANY (%(orgs)s))
     ORDER BY period_end LIMIT %(page)s
       FOR NO KEY UPDATE SKIP LOCKED)
UPDATE quotas_usagecounter c
   SET closed_at = %(now)s, version = version + 1, updated_at = greatest(updated_at, %(now)s)
  FROM over WHERE c.id = over.id
"""
_COUNT = """
SELECT count(*) FROM quotas_usagecounter
 WHERE closed_at IS NULL AND period_end <= %(latest)s
   AND period_end <= CASE overage WHEN 'allow' THEN %(allow)s ELSE %(block)s END
   AND (%(all)s OR org_id = ANY (%(orgs)s))
"""


@dataclass(slots=True)
class RolledOver:
    """What a rollover did, or would do. Of those that failed only the first are named."""

    opened: int = 0
    derived: int = 0
    closed: int = 0
    failed: int = 0
    named: list[str] = field(default_factory=list)

    def park(self, org_ids: Collection[str]) -> None:
        """Note organisations that could not be rolled over."""
        self.failed += len(org_ids)
        self.named += list(org_ids)[: _MOST_NAMED - len(self.named)]
        metrics.ROLLOVER_FAILED.inc(len(org_ids))


def roll_over(
    *, now: datetime, org_ids: Collection[str] = (), dry_run: bool = False
) -> Iterator[RolledOver]:
    """Roll periods over as of `now`, of some organisations or of all.

    Yields the running totals after each page; memory is bounded by one. An
    organisation that cannot be rolled over is parked: counted, named, and left as it
    is until the next run.
    """
    done = RolledOver()
    for page in opening.pages(org_ids):
        found = opening.open_page(page, now=now, dry_run=dry_run)
        done.opened += found.counters
        done.park(found.broken)
        yield done
    for _ in _derive_due(now, org_ids, done, dry_run=dry_run):
        yield done
    for _ in _close_due(now, org_ids, done, dry_run=dry_run):
        yield done
    if done.failed:
        logger.error("rollover_failed", organisations=done.failed, first=done.named[0])
    yield done


def close_ended(*, org_id: str, now: datetime) -> None:
    """Close what is over of one organisation, waiting for whoever is counting in it.

    After this nothing more is counted in a period that was over at `now`, however
    long ago a request began that still tries to. What may still be opened of a period
    is opened first: its metrics close one by one, and none is missing among them.
    """
    with transaction.atomic():
        entitlement = counters.lock(org_id)
        if entitlement is not None:
            counters.open_live(entitlement, now=counters.instant_of(entitlement, now=now))
        ended = [
            counter
            for counter in UsageCounter.objects.select_for_update()
            .filter(org_id=org_id, closed_at=None, period_end__lte=now)
            .order_by("metric", "period_start")
            if now >= counter.period_end + rules.late_grace(counter.overage)
        ]
        for counter in ended:
            counter.closed_at = now
            counter.version += 1
            # Never back, here as anywhere: another node's clock may be ahead (instant_of).
            counter.updated_at = max(counter.updated_at, now)
            counter.save(update_fields=["closed_at", "version", "updated_at"])


def _derive_due(
    now: datetime, org_ids: Collection[str], done: RolledOver, *, dry_run: bool
) -> Iterator[None]:
    """Apply scheduled changes, trial ends and expired adjustments that are due."""
    due = UsageCounter.objects.filter(
        closed_at=None, valid_until__lte=now, period_start__lte=now, period_end__gt=now
    )
    if org_ids:
        due = due.filter(org_id__in=org_ids)
    last = ""
    while page := list(
        due.filter(org_id__gt=last)
        .order_by("org_id")
        .values_list("org_id", flat=True)
        .distinct()[:_PAGE]
    ):
        last = page[-1]
        for org_id in page:
            if not dry_run and not _derived(org_id, now, done):
                continue
            done.derived += 1
        yield


def _derived(org_id: str, now: datetime, done: RolledOver) -> bool:
    try:
        counters.refresh(org_id=org_id, now=now)
    except opening.BROKEN as error:
        done.park([org_id])
        logger.warning("rollover_skipped", tenant_id=org_id, error=type(error).__name__)
        return False
    return True


def _close_due(
    now: datetime, org_ids: Collection[str], done: RolledOver, *, dry_run: bool
) -> Iterator[None]:
    """Close the periods whose late grace is over."""
    ended = {overage: now - rules.late_grace(overage) for overage in Overage.values}
    asked: dict[str, Any] = {
        **ended,
        "latest": max(ended.values()),
        "now": now,
        "all": not org_ids,
        "orgs": list(org_ids),
        "page": _PAGE,
    }
    with connection.cursor() as cursor:
        if dry_run:
            cursor.execute(_COUNT, asked)
            [(done.closed,)] = cursor.fetchall()
            return
        while True:
            cursor.execute(_CLOSE, asked)
            if not cursor.rowcount:
                return
            done.closed += cursor.rowcount
            yield
