"""Resetting quotas: opening the current period's counters, and, forced, forgiving what was used.

One service for the endpoint, the admin and the command. Safe to repeat: a
counter that already took usage is left alone unless it is named and forced.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from config.contract.errors import ValidationFailed
from quotas import corrections, counters, opening, rules
from quotas.models import Entitlement, UsageCounter

#: More organisations than this are left to a worker.
MOST_AT_ONCE = 1000
_PAGE = 500


@dataclass(frozen=True, slots=True)
class ResetAsked:
    """Which counters to reset. `org_ids` empty means every active organisation."""

    org_ids: Sequence[str]
    metric: str | None
    force: bool
    reason: str

    def __post_init__(self) -> None:
        if self.force and not self.reason.strip():
            raise ValidationFailed({"reason": ["Say why, where force is set"]})
        if self.force and not self.org_ids:
            raise ValidationFailed({"orgIds": ["Name the organisations, where force is set"]})


@dataclass(frozen=True, slots=True)
class WouldForgive:
    """What a forced reset overwrites of one counter."""

    org_id: str
    metric: str
    used: int


def scope_of(asked: ResetAsked) -> int:
    """Return how many organisations a reset concerns."""
    return _entitlements(asked.org_ids).count()


def reset(*, asked: ResetAsked, who: str, now: datetime, act_id: UUID | None = None) -> int:
    """Open what is missing, forgive what is forced; returns how many counters were touched.

    With an `act_id` each counter is forgiven once, however often this is called with it.
    """
    forced = _used(asked, now=now) if asked.force else []
    opened = open_current(org_ids=asked.org_ids, metric=asked.metric, now=now)
    touched = max(opened, default=0)
    for one in forced:
        touched += bool(
            corrections.forgive(
                org_id=one.org_id,
                metric=one.metric,
                reason=asked.reason,
                who=who,
                now=now,
                act_id=act_id,
            )
        )
    if asked.org_ids:
        for entitlement in _active(asked.org_ids, now=now):
            counters.publish_open(entitlement.org_id, now=now)
    return touched


def open_current(
    *, org_ids: Collection[str], metric: str | None, now: datetime, dry_run: bool = False
) -> Iterator[int]:
    """Open what is missing of the current period; yields how many counters so far."""
    opened = 0
    for page in opening.pages(org_ids):
        opened += opening.open_page(page, now=now, metric=metric, dry_run=dry_run).counters
        yield opened


def preview(*, asked: ResetAsked, now: datetime) -> tuple[int, list[WouldForgive]]:
    """Return how many counters a reset would touch, and what it would overwrite."""
    missing = open_current(org_ids=asked.org_ids, metric=asked.metric, now=now, dry_run=True)
    overwritten = _used(asked, now=now) if asked.force else []
    return max(missing, default=0) + len(overwritten), overwritten


def _used(asked: ResetAsked, *, now: datetime) -> list[WouldForgive]:
    """Return the current counters of the named organisations that took usage."""
    active = {one.org_id: one for one in _active(asked.org_ids, now=now)}
    rows = UsageCounter.objects.filter(
        org_id__in=active, period_start__lte=now, period_end__gt=now
    ).order_by("org_id", "metric")
    return [
        WouldForgive(row.org_id, row.metric, row.used)
        for row in rows
        if row.used
        and (
            row.metric == asked.metric
            if asked.metric
            else row.metric in rules.metrics_of(active[row.org_id])
        )
    ]


def _active(org_ids: Collection[str], *, now: datetime) -> Iterator[Entitlement]:
    last = 0
    while True:
        page = list(_entitlements(org_ids).filter(pk__gt=last).order_by("pk")[:_PAGE])
        if not page:
            return
        last = page[-1].pk
        yield from (one for one in page if rules.has_access(one, now))


def _entitlements(org_ids: Collection[str]) -> QuerySet[Entitlement]:
    rows = Entitlement.objects.all()
    return rows.filter(org_id__in=org_ids) if org_ids else rows
