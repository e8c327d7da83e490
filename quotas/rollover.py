"""Doing early what the first touch of a new period would do anyway.

Opens current counters, derives those whose entitlement changed by time alone,
and closes periods that take no more events. Nothing depends on it having run:
it may crash, run twice, or run in parallel with itself.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from django.db import DatabaseError, transaction
from django.db.models import F

from quotas import counters, rules
from quotas.models import Entitlement, Overage, UsageCounter

logger = structlog.get_logger("metergate.rollover")
_PAGE = 500
#: What an organisation that cannot be rolled over raises, and must not stop the rest.
_BROKEN = (DatabaseError, ArithmeticError, LookupError, TypeError, ValueError)

# Entitlements that lack the counter of `now` for one of their metrics. Whoever is
# being worked on by somebody else is skipped: they are opening it.
_DUE = """
SELECT e.* FROM quotas_entitlement e
 WHERE e.id > %(after)s AND (%(all)s OR e.org_id = ANY (%(orgs)s))
   AND (SELECT count(*) FROM quotas_usagecounter c
         WHERE c.org_id = e.org_id AND c.period_start <= %(now)s AND c.period_end > %(now)s)
     < (SELECT count(*) FROM jsonb_object_keys(e.allowances))
 ORDER BY e.id LIMIT %(page)s {lock}
"""


@dataclass(slots=True)
class RolledOver:
    """What a rollover did, or would do."""

    opened: int = 0
    derived: int = 0
    closed: int = 0
    failed: list[str] = field(default_factory=list)


def roll_over(
    *, now: datetime, org_ids: Collection[str] = (), dry_run: bool = False
) -> Iterator[RolledOver]:
    """Roll periods over as of `now`, of some organisations or of all.

    Yields the running totals after each batch; memory is bounded by one. An
    organisation that cannot be rolled over is named in `failed` and left as it is.
    """
    done = RolledOver()
    after = 0
    while (batch := _open_batch(now, org_ids, after, done, dry_run=dry_run)) is not None:
        after = batch
        yield done
    _derive_due(now, org_ids, done, dry_run=dry_run)
    yield done
    while _close_batch(now, org_ids, done, dry_run=dry_run) and not dry_run:
        yield done
    if done.failed:
        logger.error("rollover_failed", organisations=len(done.failed), first=done.failed[0])
    yield done


def _open_batch(
    now: datetime, org_ids: Collection[str], after: int, done: RolledOver, *, dry_run: bool
) -> int | None:
    """Open one batch of counters; returns the last entitlement looked at, None at the end."""
    opened: list[str] = []
    with transaction.atomic():
        lock = "" if dry_run else "FOR UPDATE SKIP LOCKED"
        page = list(
            Entitlement.objects.raw(
                _DUE.format(lock=lock),
                {
                    "after": after,
                    "all": not org_ids,
                    "orgs": list(org_ids),
                    "now": now,
                    "page": _PAGE,
                },
            )
        )
        for entitlement in page:
            if not rules.has_access(entitlement, now):
                continue
            try:
                with transaction.atomic():
                    done.opened += _open(entitlement, now=now, dry_run=dry_run)
                opened.append(entitlement.org_id)
            except _BROKEN as error:
                done.failed.append(entitlement.org_id)
                logger.warning(
                    "rollover_skipped", tenant_id=entitlement.org_id, error=type(error).__name__
                )
    if not dry_run:
        for org_id in opened:
            counters.publish_open(org_id, now=now)
    return page[-1].pk if page else None


def _open(entitlement: Entitlement, *, now: datetime, dry_run: bool) -> int:
    period = rules.period_of(entitlement, now, known_at=now)
    held = set(counters.current(entitlement.org_id, now=now).values_list("metric", flat=True))
    missing = [metric for metric in rules.metrics_of(entitlement) if metric not in held]
    if not dry_run:
        for metric in missing:
            counters.insert_counter(entitlement, metric, period, now=now)
    return len(missing)


def _derive_due(
    now: datetime, org_ids: Collection[str], done: RolledOver, *, dry_run: bool
) -> None:
    """Apply scheduled changes, trial ends and expired adjustments that are due."""
    due = UsageCounter.objects.filter(
        valid_until__lte=now, period_start__lte=now, period_end__gt=now, closed_at=None
    )
    if org_ids:
        due = due.filter(org_id__in=org_ids)
    for org_id in due.order_by("org_id").values_list("org_id", flat=True).distinct().iterator():
        if not dry_run:
            counters.refresh(org_id=org_id, now=now)
        done.derived += 1


def _close_batch(
    now: datetime, org_ids: Collection[str], done: RolledOver, *, dry_run: bool
) -> bool:
    """Close one batch of periods whose late grace is over; False when there is none left."""
    with transaction.atomic():
        ended = UsageCounter.objects.filter(closed_at=None)
        if org_ids:
            ended = ended.filter(org_id__in=org_ids)
        due = ended.filter(
            overage=Overage.BLOCK, period_end__lte=now - rules.late_grace(Overage.BLOCK)
        ) | ended.filter(
            overage=Overage.ALLOW, period_end__lte=now - rules.late_grace(Overage.ALLOW)
        )
        if dry_run:
            done.closed = due.count()
            return False
        keys = list(
            due.select_for_update(skip_locked=True)
            .order_by("metric", "period_start", "pk")
            .values_list("pk", flat=True)[:_PAGE]
        )
        done.closed += UsageCounter.objects.filter(pk__in=keys).update(
            closed_at=now, version=F("version") + 1, updated_at=now
        )
    return bool(keys)
