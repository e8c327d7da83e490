"""Choosing which percentages of a limit an organisation hears of (quotas.crossings)."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from config.contract import clock
from config.contract.errors import NotFound, ValidationFailed
from quotas.crossings import DEFAULT_PERCENTS, ThresholdChoice, ThresholdCrossed
from quotas.models import Entitlement, UsageCounter


def chosen(org_id: str) -> list[int]:
    """Return the percentages an organisation hears of, ascending."""
    found = ThresholdChoice.objects.filter(org_id=org_id).values_list("percents", flat=True).first()
    return list(DEFAULT_PERCENTS) if found is None else list(found)


def choose(*, org_id: str, percents: Collection[int], now: datetime) -> list[int]:
    """Hear of these percentages (1 to 100) from now on; none where empty. Returns them in order.

    One that is passed already is not crossed by choosing it. Raises
    ValidationFailed, NotFound where nothing was ever granted.
    """
    if not all(1 <= percent <= 100 for percent in percents):
        raise ValidationFailed({"thresholds": ["Expected percentages from 1 to 100"]})
    ordered = sorted(set(percents))
    with transaction.atomic():
        # Whoever opens a counter holds this lock: it is opened before or after, not between.
        if not Entitlement.objects.select_for_update().filter(org_id=org_id).exists():
            raise NotFound
        ThresholdChoice.objects.update_or_create(
            org_id=org_id, defaults={"percents": ordered, "updated_at": now}
        )
        open_ones = (
            UsageCounter.objects.select_for_update()
            .filter(org_id=org_id, closed_at=None)
            .order_by("metric", "period_start")
        )
        keys = [counter.pk for counter in open_ones]
        # Whatever is written there, the trigger computes it anew.
        UsageCounter.objects.filter(pk__in=keys).update(next_threshold_at=None)
    return ordered


def expected(counters: Collection[UsageCounter]) -> dict[int, int | None]:
    """Return what each counter's `next_threshold_at` has to be, by its primary key.

    The trigger's rule said again, to hold the trigger against.
    """
    orgs = {one.org_id for one in counters}
    choices = dict(
        ThresholdChoice.objects.filter(org_id__in=orgs).values_list("org_id", "percents")
    )
    crossed = defaultdict(set)
    for row in ThresholdCrossed.objects.filter(
        org_id__in=orgs, period_start__in={one.period_start for one in counters}
    ):
        crossed[row.org_id, row.metric, row.period_start].add((row.units_limit, row.percent))
    found: dict[int, int | None] = {}
    for one in counters:
        told = crossed[one.org_id, one.metric, one.period_start]
        ahead = [
            at
            for percent in choices.get(one.org_id, DEFAULT_PERCENTS)
            if (at := -(-one.limit * percent // 100)) > one.used
            and (one.limit, percent) not in told
        ]
        found[one.pk] = min(ahead, default=None)
    return found


def tell_nobody(counter: UsageCounter) -> None:
    """Mark what the counter's latest change crossed as told.

    For a limit that was lowered by moving units into the next period: nothing was
    used, and the period is over.
    """
    ThresholdCrossed.objects.filter(
        org_id=counter.org_id,
        metric=counter.metric,
        period_start=counter.period_start,
        units_limit=counter.limit,
        crossed_at=counter.updated_at,
        told_at=None,
    ).update(told_at=clock.real_now())
