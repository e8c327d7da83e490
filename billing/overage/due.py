"""Finding the closed periods whose overage is not charged yet, and writing that down."""

from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID, uuid5

import structlog
from django.conf import settings
from django.db.models import BigIntegerField, Exists, F, OuterRef, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Greatest

from billing.models import Operation, PlanAllowance, UnpricedOverage
from billing.overage.deal import UnitPrice
from config.contract import clock
from quotas.models import Entitlement, Overage, UsageCounter

logger = structlog.get_logger("metergate.overage")

#: What was begun in a period's last instant is committed by then.
SETTLED_AFTER = timedelta(minutes=5)
_NAMESPACE = UUID("6f1d0a0e-6a57-4b0e-9a0b-5d2f7a4c1e83")
_PAGE = 500


def uuid_of(org_id: str, metric: str, period_start: datetime) -> UUID:
    """Return the operation's uuid: the same for the same period, whoever asks and how often."""
    return uuid5(_NAMESPACE, f"{org_id}/{metric}/{int(period_start.timestamp())}")


def write_down(*, now: datetime) -> int:
    """Write an operation for each closed period that went over; returns how many are new.

    Safe to run twice and at once: the uuid is unique. A period whose price is not
    known is kept as a finding that staff see, until the catalogue or staff settle it.
    """
    unpriced: list[int] = []
    counters = unwritten(now=now).iterator(chunk_size=_PAGE)
    written = 0
    while page := list(islice(counters, _PAGE)):
        found = []
        for counter in page:
            operation = _operation_for(counter)
            if operation is None:
                unpriced.append(counter.pk)
                _note_unpriced(counter)
            else:
                found.append(operation)
        known = Operation.objects.filter(uuid__in=[one.uuid for one in found]).count()
        Operation.objects.bulk_create(found, ignore_conflicts=True)
        written += len(found) - known
    UnpricedOverage.objects.exclude(counter_id__in=unpriced).delete()
    return written


def _note_unpriced(counter: UsageCounter) -> None:
    _, is_new = UnpricedOverage.objects.update_or_create(
        counter_id=counter.pk,
        defaults={"units": counter.used - counter.limit},
        create_defaults={
            "org_id": counter.org_id,
            "metric": counter.metric,
            "period_key": counter.period_key,
            "units": counter.used - counter.limit,
            "noted_at": clock.real_now(),
        },
    )
    if is_new:
        logger.error(
            "overage_unpriced",
            tenant_id=counter.org_id,
            metric=counter.metric,
            period_key=counter.period_key,
        )


def unwritten(*, now: datetime) -> QuerySet[UsageCounter]:
    """Return the counters of closed periods that are over their limit and not written down."""
    written = (
        Operation.objects.filter(kind=Operation.Kind.OVERAGE, org_id=OuterRef("org_id"))
        .annotate(counter=Cast(KT("request__counter"), BigIntegerField()))
        .filter(counter=OuterRef("pk"))
    )
    return UsageCounter.objects.filter(
        ~Exists(written),
        overage=Overage.ALLOW,
        period_end__lte=now - settings.LATE_GRACE_ALLOW - SETTLED_AFTER,
        counted__gt=F("forgiven") + Greatest(F("included") + F("adjusted"), 0),
    ).order_by("period_end", "pk")


def _operation_for(counter: UsageCounter) -> Operation | None:
    sold = _sold_at(counter)
    if sold is None:
        return None
    plan_code, price = sold
    real_now = clock.real_now()
    return Operation(
        uuid=uuid_of(counter.org_id, counter.metric, counter.period_start),
        kind=Operation.Kind.OVERAGE,
        org_id=counter.org_id,
        request={
            "counter": counter.pk,
            "metric": counter.metric,
            "periodKey": counter.period_key,
            "units": counter.used - counter.limit,
            "planCode": plan_code,
            **price.stored(),
        },
        lease_until=real_now,
        created_at=real_now,
    )


def _sold_at(counter: UsageCounter) -> tuple[str, UnitPrice] | None:
    """Return the plan that last allowed overage before the period's end, and its price then.

    The price is the one that was granted with it (billing.overage.deal). None where none
    was, as before these were kept, and the catalogue has none today.
    """
    granted = (
        Entitlement.pgh_event_model.objects.filter(  # type: ignore[attr-defined]
            org_id=counter.org_id, updated_at__lt=counter.period_end
        )
        .order_by("-pgh_id")
        .values_list(
            *("updated_at", "scheduled_at", "scheduled_plan_code"),
            *("scheduled_allowances", "scheduled_overage_prices"),
            *("plan_code", "allowances", "overage_prices"),
        )
    )
    replaced_at = counter.period_end
    for updated_at, scheduled_at, *scheduled, code, allowances, prices in granted.iterator():
        plans = [(code, allowances, prices)]
        if scheduled_at is not None and scheduled_at < replaced_at:
            # It took over by itself: no later row need say so before the period's end.
            plans.insert(0, tuple(scheduled))
        replaced_at = updated_at
        for plan_code, snapshot, plan_prices in plans:
            if (snapshot.get(counter.metric) or {}).get("overage") == Overage.ALLOW:
                price = UnitPrice.from_stored(plan_prices, counter.metric) or _listed(
                    plan_code, counter.metric
                )
                return None if price is None else (plan_code, price)
    return None


def _listed(plan_code: str, metric: str) -> UnitPrice | None:
    """Return what the catalogue says today."""
    allowance = (
        PlanAllowance.objects.select_related("plan")
        .filter(plan__code=plan_code, metric=metric)
        .first()
    )
    if allowance is None or allowance.overage_unit_amount is None:
        return None
    return UnitPrice(allowance.overage_unit_amount, allowance.plan.currency)
