"""What a statement says, out of the counters and the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.models import InvoiceRef
from config.contract.bodies import rfc3339
from quotas.corrections import is_closed
from quotas.models import Entitlement, UsageCounter
from quotas.queries import unopened_counters
from usage.counter_days import CounterDays, days_in_ledger, days_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Books:
    """The counters of one organisation in one period, all metrics together."""

    org_id: str
    period_key: str
    start: datetime
    end: datetime
    counters: tuple[UsageCounter, ...]

    @property
    def versions(self) -> tuple[tuple[int, int], ...]:
        """Which rows these are, in which versions."""
        return tuple((counter.pk, counter.version) for counter in self.counters)

    def is_closed(self, *, now: datetime) -> bool:
        """Tell whether nothing of the period can change any more."""
        return all(is_closed(counter, now=now) for counter in self.counters)


def books_at(org_id: str, period_key: str, *, now: datetime) -> Books | None:
    """Return one period of an organisation; None where it has no such period.

    The running one is there from its first instant: a metric that nobody has touched yet
    is shown as it would open.
    """
    stored = UsageCounter.objects.filter(org_id=org_id, period_key=period_key)
    rows = [
        *stored.order_by("period_start", "metric"),
        *(
            counter
            for counter in unopened_counters(org_id=org_id, now=now)
            if counter.period_key == period_key
        ),
    ]
    return _books(org_id, period_key, rows) if rows else None


def books_of(org_id: str) -> list[Books]:
    """Return the periods that an organisation has counters of, oldest first."""
    rows = UsageCounter.objects.filter(org_id=org_id).order_by("period_start", "metric")
    by_key: dict[str, list[UsageCounter]] = {}
    for counter in rows:
        by_key.setdefault(counter.period_key, []).append(counter)
    return [_books(org_id, key, counters) for key, counters in by_key.items()]


def _books(org_id: str, period_key: str, counters: Sequence[UsageCounter]) -> Books:
    return Books(
        org_id=org_id,
        period_key=period_key,
        start=min(counter.period_start for counter in counters),
        end=max(counter.period_end for counter in counters),
        counters=tuple(sorted(counters, key=lambda counter: counter.metric)),
    )


#: The numbers of one metric, in the order in which people read them.
_NUMBERS = (
    *("included", "adjusted", "counted", "voided", "forgiven"),
    *("used", "remaining", "overage", "days"),
)


def metrics_of(books: Books) -> Json:
    """Return the numbers by metric; included + adjusted - (counted - forgiven) = remaining.

    `counted` is net of `voided`; `overage` are the units past what was included.
    """
    return {counter.metric: _metric(counter, days_of(counter)) for counter in books.counters}


def canonical(books: Books, *, from_ledger: bool = False) -> Json:
    """Return what the seal of a closed period covers: the ledger's part, nothing of Stripe's.

    `from_ledger` reads every day from the ledger, also where it is known already.
    """
    days = days_in_ledger if from_ledger else days_of
    return {
        "orgId": books.org_id,
        "periodKey": books.period_key,
        "periodStart": rfc3339(books.start),
        "periodEnd": rfc3339(books.end),
        "metrics": {counter.metric: _metric(counter, days(counter)) for counter in books.counters},
    }


def metrics_in(rows: Json) -> Json:
    """Return the numbers by metric out of canonical rows, as `metrics_of` orders them."""
    return {
        metric: {name: numbers[name] for name in _NUMBERS}
        for metric, numbers in sorted(rows["metrics"].items())
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


def _metric(counter: UsageCounter, days: CounterDays) -> Json:
    return {
        "included": counter.included,
        "adjusted": counter.adjusted,
        "counted": counter.counted,
        "voided": days.voided,
        "forgiven": counter.forgiven,
        "used": counter.used,
        "remaining": counter.remaining,
        "overage": max(0, counter.used - counter.limit),
        "days": [{"date": f"{day:%Y-%m-%d}", "used": used} for day, used in days.used.items()],
    }
