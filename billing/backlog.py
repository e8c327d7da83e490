"""What of billing waits for a worker, and since when."""

from datetime import datetime
from typing import Any

from django.db.models import F, QuerySet, Value

from billing.contact.models import EmailChange
from billing.models import Operation, Organization
from billing.notifications.models import Delivery, NotificationAddress


def oldest(*, now: datetime) -> list["QuerySet[Any, tuple[str, datetime]]"]:
    """Return queries for the oldest work of each kind that is due: its kind, and since when.

    Instants are real time. What somebody works on, or is to be tried again later, is not
    due. What is looked for every few minutes only (overage, ends of trials) is no kind.
    """
    return [
        first(
            "notifications", Delivery.objects.filter(state=Delivery.State.WAITING), "due_at", now
        ),
        first("changes of contact", Organization.objects.all(), "contact_due_at", now),
        first("mails of a new address", EmailChange.objects.all(), "mail_due_at", now),
        first("links to agree by", NotificationAddress.objects.all(), "mail_due_at", now),
        first(
            "sign-ups and plan changes",
            Operation.objects.filter(
                state=Operation.State.STARTED,
                kind__in=[Operation.Kind.SIGN_UP, *Operation.CHANGES],
            ),
            "lease_until",
            now,
        ),
    ]


def first(
    kind: str, rows: "QuerySet[Any]", field: str, now: datetime
) -> "QuerySet[Any, tuple[str, datetime]]":
    """Return a query for the row whose instant `field` is longest past: `kind`, and when."""
    due = rows.filter(**{f"{field}__lte": now}).order_by(field)
    named: QuerySet[Any, tuple[str, datetime]] = due.annotate(
        waits=Value(kind), since=F(field)
    ).values_list("waits", "since")
    return named[:1]
