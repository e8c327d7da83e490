"""Resetting quotas: opening the current period's counters, and, forced, forgiving what was used.

One service for the endpoint, the admin and the command. Safe to repeat: a
counter that already took usage is left alone unless it is named and forced.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from config.contract.errors import ValidationFailed
from quotas import corrections, counters, rules
from quotas.models import Entitlement

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


def reset(*, asked: ResetAsked, who: str, now: datetime) -> int:
    """Open what is missing, forgive what is forced; returns how many counters were touched."""
    touched = 0
    for entitlement in _active(asked.org_ids, now=now):
        touched += reset_one(entitlement, asked=asked, who=who, now=now)
    return touched


def reset_one(entitlement: Entitlement, *, asked: ResetAsked, who: str, now: datetime) -> int:
    """Reset one organisation's current counters; returns how many were touched."""
    org_id = entitlement.org_id
    wanted = [asked.metric] if asked.metric else rules.metrics_of(entitlement)
    held = {row.metric: row for row in counters.current(org_id, now=now)}
    missing = [metric for metric in wanted if metric not in held]
    if missing:
        counters.open_periods(org_id=org_id, wanted=[(metric, now) for metric in missing], now=now)
    else:
        counters.publish_open(org_id, now=now)
    touched = len(missing)
    if asked.force:
        for metric in wanted:
            if metric in held and corrections.forgive(
                org_id=org_id, metric=metric, reason=asked.reason, who=who, now=now
            ):
                touched += 1
    return touched


def preview(*, asked: ResetAsked, now: datetime) -> tuple[int, list[WouldForgive]]:
    """Return how many counters a reset would touch, and what it would overwrite."""
    touched = 0
    overwritten: list[WouldForgive] = []
    for entitlement in _active(asked.org_ids, now=now):
        wanted = [asked.metric] if asked.metric else rules.metrics_of(entitlement)
        held = {row.metric: row for row in counters.current(entitlement.org_id, now=now)}
        touched += sum(metric not in held for metric in wanted)
        if asked.force:
            used = [held[metric] for metric in wanted if metric in held and held[metric].used]
            touched += len(used)
            overwritten += [WouldForgive(row.org_id, row.metric, row.used) for row in used]
    return touched, overwritten


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
