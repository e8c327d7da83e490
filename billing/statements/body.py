"""What a statement says, out of the counters and the ledger."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Sum

from billing.models import InvoiceRef
from config.contract.bodies import rfc3339
from quotas.corrections import is_closed
from quotas.models import Entitlement, UsageCounter
from usage.models import UsageVoid
from usage.queries import series

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Books:
    """The counters of one organisation in one period, all metrics together."""

    org_id: str
    period_key: str
    start: datetime
    end: datetime
    counters: tuple[UsageCounter, ...]

    def is_closed(self, *, now: datetime) -> bool:
        """Tell whether nothing of the period can change any more."""
        return all(is_closed(counter, now=now) for counter in self.counters)


def books_of(org_id: str, *, period_key: str | None = None) -> list[Books]:
    """Return the periods that an organisation has counters of, oldest first."""
    rows = UsageCounter.objects.filter(org_id=org_id).order_by("period_start", "metric")
    if period_key is not None:
        rows = rows.filter(period_key=period_key)
    by_key: dict[str, list[UsageCounter]] = {}
    for counter in rows:
        by_key.setdefault(counter.period_key, []).append(counter)
    return [
        Books(
            org_id=org_id,
            period_key=key,
            start=min(one.period_start for one in found),
            end=max(one.period_end for one in found),
            counters=tuple(found),
        )
        for key, found in by_key.items()
    ]


def metrics_of(books: Books) -> Json:
    """Return the numbers by metric; included + adjusted - (counted - forgiven) = remaining.

    `counted` is net of `voided`; `overage` are the units past what was included.
    """
    return {counter.metric: _metric(counter) for counter in books.counters}


def canonical(books: Books) -> Json:
    """Return what the seal of a closed period covers: the ledger's part, nothing of Stripe's."""
    return {
        "orgId": books.org_id,
        "periodKey": books.period_key,
        "periodStart": rfc3339(books.start),
        "periodEnd": rfc3339(books.end),
        "metrics": metrics_of(books),
    }


def plan_changes(books: Books) -> list[Json]:
    """Return the changes of plan within the period, out of the entitlement's history."""
    history = (
        Entitlement.pgh_event_model.objects.filter(  # type: ignore[attr-defined]
            org_id=books.org_id, pgh_created_at__lt=books.end
        )
        .order_by("pgh_id")
        .values_list("plan_code", "updated_at")
    )
    changes = []
    before: str | None = None
    for code, at in history:
        if before not in (None, code) and books.start <= at < books.end:
            changes.append({"at": rfc3339(at), "from": before, "to": code})
        before = code
    return changes


def invoice_ids(books: Books) -> list[str]:
    """Return the invoices Stripe made within the period."""
    return list(
        InvoiceRef.objects.filter(
            org_id=books.org_id, created_at__gte=books.start, created_at__lt=books.end
        )
        .order_by("created_at", "stripe_invoice_id")
        .values_list("stripe_invoice_id", flat=True)
    )


def _metric(counter: UsageCounter) -> Json:
    voided = UsageVoid.objects.filter(
        org_id=counter.org_id, metric=counter.metric, period_start=counter.period_start
    ).aggregate(total=Sum("value"))["total"]
    points = series(
        org_id=counter.org_id,
        metric=counter.metric,
        start=counter.period_start,
        end=counter.period_end,
        by="day",
    )
    return {
        "included": counter.included,
        "adjusted": counter.adjusted,
        "counted": counter.counted,
        "voided": int(voided or 0),
        "forgiven": counter.forgiven,
        "used": counter.used,
        "remaining": counter.remaining,
        "overage": max(0, counter.used - counter.limit),
        "days": [
            {"date": f"{point.at:%Y-%m-%d}", "used": point.used} for point in points if point.used
        ],
    }
