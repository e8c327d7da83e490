"""Statements and invoices, as the page lists them: from our own tables, newest first."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Min

from billing.models import InvoiceRef
from billing.money import money
from billing.text import day
from quotas.models import UsageCounter
from quotas.periods import Period

#: The page is for looking; the API has all of them.
MOST_PERIODS = 13
MOST_INVOICES = 12
#: How an invoice is called, and in which colour. Drafts and voided ones are no concern.
_SHOWN = {
    "paid": ("Paid", "good"),
    "open": ("Due", "warn"),
    "uncollectible": ("Unpaid", "bad"),
}


@dataclass(frozen=True, slots=True)
class StatementRow:
    """A period that has a statement; `name` is how people call it."""

    period_key: str
    name: str


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """One invoice; `amount` is written out, `url` is Stripe's page of it.

    `note` says what was given back of it.
    """

    created_at: datetime
    amount: str
    status: str
    tone: str
    payable: bool
    url: str
    note: str = ""


def statements(org_id: str, *, running: Period) -> list[StatementRow]:
    """Return the periods that something was counted in, or could have been.

    The running one is among them, whether or not it has been opened.
    """
    periods = (
        UsageCounter.objects.filter(org_id=org_id)
        .values("period_key")
        .annotate(start=Min("period_start"), end=Max("period_end"))
        .order_by("-start")[:MOST_PERIODS]
    )
    rows = [StatementRow(one["period_key"], _name(one["start"], one["end"])) for one in periods]
    if running.key not in {row.period_key for row in rows}:
        rows.insert(0, StatementRow(running.key, _name(running.start, running.end)))
    return rows[:MOST_PERIODS]


def invoices(org_id: str) -> list[InvoiceRow]:
    """Return the last invoices that Stripe told us of."""
    rows = InvoiceRef.objects.filter(
        org_id=org_id, status__in=list(_SHOWN), created_at__isnull=False
    ).order_by("-created_at", "-pk")[:MOST_INVOICES]
    return [_row(ref, ref.created_at) for ref in rows if ref.created_at is not None]


def _row(ref: InvoiceRef, created_at: datetime) -> InvoiceRow:
    word, tone = _SHOWN[ref.status]
    if ref.status == "paid" and ref.amount_refunded and ref.amount_refunded >= ref.total:
        word, tone = "Refunded", "info"
    given_back = [("refunded", ref.amount_refunded), ("credited", ref.amount_credited)]
    return InvoiceRow(
        created_at=created_at,
        amount=money(ref.total, ref.currency),
        status=word,
        tone=tone,
        payable=ref.status != "paid",
        url=ref.hosted_invoice_url,
        note=", ".join(
            f"{money(amount, ref.currency)} {what}" for what, amount in given_back if amount
        ),
    )


def _name(start: datetime, end: datetime) -> str:
    last = end - timedelta(microseconds=1)
    if start.day == 1 and (start.year, start.month) == (last.year, last.month):
        return f"{start:%B %Y}"
    return f"{day(start)} to {day(last)}"
