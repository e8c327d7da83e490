"""A statement as a page to print: one file that loads nothing, whoever keeps it."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from billing.models import InvoiceRef, Organization, Plan
from billing.money import money
from billing.statements import body
from billing.text import metric_name

#: It stands in the page, so that a saved copy prints as well.
_STYLE = (settings.BASE_DIR / "templates" / "statements" / "statement.css").read_text()
#: What the policy of a page that holds it has to allow (config.backoffice.csp).
STYLE_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"


@dataclass(frozen=True, slots=True)
class DayRow:
    """Use of one day; `share` is of the busiest day's, in percent."""

    on: date
    used: int
    share: int


@dataclass(frozen=True, slots=True)
class MetricRow:
    """The numbers of one metric, under the name people call it by."""

    name: str
    included: int
    adjusted: int
    counted: int
    voided: int
    forgiven: int
    remaining: int
    overage: int
    days: list[DayRow]


def as_page(found: Mapping[str, Any], *, org_id: str, now: datetime) -> HttpResponse:
    """Return a statement (billing.statements.services.statement) as a page."""
    return HttpResponse(
        html(found, org_id=org_id, now=now), content_type="text/html; charset=utf-8"
    )


def html(found: Mapping[str, Any], *, org_id: str, now: datetime) -> str:
    """Return a statement as HTML."""
    books = body.books_at(org_id, found["periodKey"], now=now)
    assert books is not None  # noqa: S101 - the statement is of that period
    plans = dict(Plan.objects.values_list("code", "name"))
    metrics = [_metric(code, numbers) for code, numbers in found["metrics"].items()]
    return render_to_string(
        "statements/statement.html",
        {
            "style": mark_safe(_STYLE),  # noqa: S308 - a file of ours
            "organization": Organization.objects.get(org_id=org_id),
            "period_key": found["periodKey"],
            "status": found["status"],
            "start": books.start,
            "last": books.end - timedelta(microseconds=1),
            "metrics": metrics,
            "any_overage": any(one.overage for one in metrics),
            "plan_changes": [
                {
                    "at": datetime.fromisoformat(one["at"]),
                    "was": plans.get(one["from"], one["from"]),
                    "to": plans.get(one["to"], one["to"]),
                }
                for one in found["planChanges"]
            ],
            "invoices": _invoices(found["invoiceIds"]),
            "digest": found["digest"],
            "previous_digest": found["previousDigest"],
            "made_at": now,
        },
    )


def _metric(code: str, numbers: Mapping[str, Any]) -> MetricRow:
    most = max((day["used"] for day in numbers["days"]), default=0)
    return MetricRow(
        name=metric_name(code),
        days=[
            DayRow(
                on=date.fromisoformat(day["date"]),
                used=day["used"],
                share=max(0, 100 * day["used"] // most) if most > 0 else 0,
            )
            for day in numbers["days"]
        ],
        **{
            name: numbers[name]
            for name in (
                *("included", "adjusted", "counted", "voided"),
                *("forgiven", "remaining", "overage"),
            )
        },
    )


def _invoices(ids: list[str]) -> list[dict[str, Any]]:
    rows = InvoiceRef.objects.in_bulk(ids, field_name="stripe_invoice_id")
    return [
        {
            "id": one.stripe_invoice_id,
            "created_at": one.created_at,
            "status": one.status,
            "amount": money(one.total, one.currency),
        }
        for one in (rows[stripe_id] for stripe_id in ids)
    ]
