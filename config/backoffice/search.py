"""One box for whatever a customer quotes: an id, a name, an e-mail address.

It is posted, never put into an address: what staff look for is often personal,
and addresses end up in histories and in the logs of proxies.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from billing.models import InvoiceRef, Operation, Organization, Subscription
from config.backoffice.explain import page as explain
from config.backoffice.navigation import sidebar
from quotas.denial_models import DeniedRequest
from tokens.models import AuditEntry, OperatorKey, TokenFamily
from usage.models import UsageEvent, UsageVoid
from webhooks.models import WebhookEvent

#: How many of each kind are shown; who needs more names it better.
MOST = 20
_LONGEST = 200

# One look-up in the unique index for each organisation: a search by request id
# alone costs as much for a billion events as for none.
_EVENTS = """
SELECT e.id FROM billing_organization o
 CROSS JOIN LATERAL (SELECT id FROM usage_usageevent u
                      WHERE u.org_id = o.org_id AND u.request_id = %s LIMIT 1) e
 LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that matches, and its page."""

    kind: str
    title: str
    detail: str
    url: str


def search(request: HttpRequest) -> HttpResponse:
    """Go to the one thing that was meant, or show the few that may be."""
    if not request.user.has_perm("billing.view_organization"):
        raise PermissionDenied
    term = " ".join(request.POST.get("term", "").replace("\0", " ").split())[:_LONGEST]
    found = find(term) if term else []
    if term and not found:
        found = list(_pages(request, term))
    if len(found) == 1:
        return HttpResponseRedirect(found[0].url)
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "term": term,
        "found": found,
        "most": MOST,
    }
    return TemplateResponse(request, "admin/search.html", context)


def find(term: str) -> list[Found]:
    """Return what `term` is the id of; without a known beginning, what it could be.

    Each kind is one look-up in an index (names: one pass over the organisations).
    """
    for beginning, look in _BY_BEGINNING.items():
        if term.startswith(beginning) and (found := list(look(term))):
            return found
    if "@" in term:
        return list(_organisations(Q(email__iexact=term)))
    if (key := _as_uuid(term)) is not None and (found := list(_operations(key))):
        return found
    return [*_by_request(term), *_organisations(Q(name__icontains=term))]


def _organisations(which: Q) -> Iterator[Found]:
    for row in Organization.objects.filter(which).order_by("name", "org_id")[:MOST]:
        url = reverse("organisation", args=[row.org_id])
        yield Found("Organisation", row.name, row.org_id, url)


def _by_org_id(term: str) -> Iterator[Found]:
    return _organisations(Q(org_id=term))


def _customers(term: str) -> Iterator[Found]:
    return _organisations(Q(stripe_customer_id=term))


def _subscriptions(term: str) -> Iterator[Found]:
    return _mirrored("Subscription", Subscription.objects.filter(stripe_subscription_id=term), term)


def _invoices(term: str) -> Iterator[Found]:
    return _mirrored("Invoice", InvoiceRef.objects.filter(stripe_invoice_id=term), term)


def _mirrored(kind: str, rows: Any, term: str) -> Iterator[Found]:
    """Yield the mirror of an object at Stripe, or the newest events of one that has none."""
    row = rows.first()
    if row is not None:
        yield _row(kind, row, term, row.org_id, key=term)
    else:
        events = WebhookEvent.objects.filter(object_id=term).order_by("-created_at")
        yield from _webhooks(events[:MOST])


def _webhook(term: str) -> Iterator[Found]:
    return _webhooks(WebhookEvent.objects.filter(event_id=term))


def _webhooks(rows: Any) -> Iterator[Found]:
    for row in rows:
        yield _row("Webhook event", row, row.type, f"{row.event_id}, {row.state}", key=row.event_id)


def _families(term: str) -> Iterator[Found]:
    for row in TokenFamily.objects.filter(pk=term):
        yield _row("Installation", row, term, row.org_id)


def _operators(term: str) -> Iterator[Found]:
    for row in OperatorKey.objects.filter(key_id=term):
        yield _row("Operator key", row, row.name, term, key=term)


def _operations(key: uuid.UUID) -> Iterator[Found]:
    for row in Operation.objects.filter(uuid=key):
        yield _row("Plan change", row, row.get_kind_display(), row.org_id, key=str(key))


def _by_request(term: str) -> Iterator[Found]:
    """Yield what happened under a request id or a correlation id."""
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, [term, MOST])
        keys = [row[0] for row in cursor.fetchall()]
    events = list(UsageEvent.objects.filter(pk__in=keys).order_by("-pk"))
    for event in events:
        title = f"+{event.value:,} {event.metric}"
        # An id that several organisations used is explained for the newest alone.
        url = explain.address(id=term) if len(events) == 1 else _page(event)
        yield Found("Usage event", title, event.org_id, url)
    for void in UsageVoid.objects.filter(
        org_id__in=[event.org_id for event in events], request_id=term
    ):
        yield _row("Void", void, f"-{void.value:,} {void.metric}", void.org_id)
    for denied in DeniedRequest.objects.known_as(term).select_related("denial")[:MOST]:
        denial = denied.denial
        what = f"{denial.get_code_display()}: {denied.value:,} {denial.metric}"
        where = f"{denial.org_id}, {denied.at:%Y-%m-%d %H:%M:%S}"
        yield Found("Denial", what, where, explain.address(id=term))
    either = Q(request_id=term) | Q(correlation_id=term)
    for entry in AuditEntry.objects.filter(either).order_by("-at")[:MOST]:
        what = entry.what.replace("_", " ")
        yield _row("Audit entry", entry, what, f"{entry.org_id}, {entry.at:%Y-%m-%d %H:%M:%S}")
    yield from _webhooks(WebhookEvent.objects.filter(correlation_id=term)[:MOST])


def _pages(request: HttpRequest, term: str) -> Iterator[Found]:
    """Yield the pages of the sidebar by name."""
    for group in sidebar(request):
        for item in group["items"]:
            if term.lower() in str(item["title"]).lower():
                yield Found("Page", str(item["title"]), group.get("title", ""), str(item["link"]))


def _row(kind: str, row: Model, title: str, detail: str, *, key: Any = None) -> Found:
    return Found(kind, title, detail, _page(row, key=key))


def _page(row: Model, *, key: Any = None) -> str:
    name = row._meta.label_lower.replace(".", "_")
    return reverse(f"admin:{name}_change", args=[key or row.pk])


def _as_uuid(term: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


_BY_BEGINNING: dict[str, Callable[[str], Iterator[Found]]] = {
    "org_": _by_org_id,
    "cus_": _customers,
    "sub_": _subscriptions,
    "in_": _invoices,
    "evt_": _webhook,
    "fam_": _families,
    "opk_": _operators,
}
