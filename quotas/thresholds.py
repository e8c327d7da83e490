"""Choosing which percentages of a limit an organisation hears of (quotas.crossings)."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from config.contract.errors import NotFound, ValidationFailed
from quotas.crossings import DEFAULT_PERCENTS, ThresholdChoice
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
