"""Renders an explanation for staff."""

import re
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_GET

from billing.models import Organization
from config.backoffice.acts import acts_for
from config.backoffice.explain.forms import InstantForm, RequestForm
from config.contract import clock
from config.contract.errors import ApiError
from quotas.admin import STATUS_COLOURS
from usage.explaining import words
from usage.explaining.service import explain
from usage.explaining.shape import Explanation

PERMISSION = "quotas.view_denial"
_EVENT = re.compile(r"\bevt_\w+")
#: Acts that may put a refusal right, by its code.
_REMEDIES = {
    "RATE_LIMITED": {"reset-quota", "grant-units", "change-plan"},
    "PAYMENT_REQUIRED": {"change-plan", "resume-subscription", "resync-organization"},
    "ORG_SUSPENDED": {"restore-organization"},
}
_ICONS = {
    "subscription": "autorenew",
    "suspension": "gavel",
    "correction": "exposure",
    "denial": "block",
    "use": "receipt_long",
    "ahead": "schedule",
    "mark": "arrow_forward",
}


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """Explain what the query string asks for: `?id=…`, or `?org=…&metric=…&at=…`."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    by_id = RequestForm(request.GET if "id" in request.GET else None)
    by_instant = InstantForm(request.GET if "org" in request.GET else None)
    context: dict[str, Any] = {"by_id": by_id, "by_instant": by_instant}
    status = 200
    try:
        found = _explained(by_id, by_instant)
    except ApiError as error:
        context["refused"] = _said(error)
        status = 404 if error.status == 404 else 400
    else:
        if found is not None:
            context |= _shown(request, found)
    context |= {"offered": [_offered(one, request) for one in by_instant.offered]}
    full = {**admin.site.each_context(request), "title": "Explain", **context}
    return render(request, "admin/explain/page.html", full, status=status)


def address(**asked: str) -> str:
    """Return the address of the page for `id=…`, or for `org=…` and what else is known."""
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{reverse('admin:explain')}?{query}" if query else reverse("admin:explain")


urlpatterns = [path("explain/", admin.site.admin_view(page), name="explain")]


def _explained(by_id: RequestForm, by_instant: InstantForm) -> Explanation | None:
    now = clock.now()
    if by_id.is_bound:
        if not by_id.is_valid():
            return None
        return explain(now=now, quoted=by_id.cleaned_data["id"])
    if by_instant.is_bound and by_instant.is_valid():
        asked = by_instant.cleaned_data
        return explain(now=now, org_id=asked["org"], metric=asked["metric"], at=asked["at"])
    return None


def _said(error: ApiError) -> str:
    fields = (error.details or {}).get("fields", {})
    return "; ".join(text for texts in fields.values() for text in texts) or error.message


def _offered(organization: Organization, request: HttpRequest) -> dict[str, Any]:
    asked = {name: request.GET.get(name, "") for name in ("metric", "at")}
    return {"row": organization, "url": address(org=organization.org_id, **asked)}


def _shown(request: HttpRequest, found: Explanation) -> dict[str, Any]:
    verdict, *sentences = words.sentences(found)
    standing = found.standing
    return {
        "found": found,
        "organization": Organization.objects.filter(org_id=found.org_id).first(),
        "verdict": verdict,
        "tone": {True: "good", False: "bad", None: "unknown"}[found.rule.allows],
        "sentences": sentences,
        "table": words.table(found)[2:],
        "bar": _bar(found),
        "status_colour": STATUS_COLOURS.get(standing.status, "info") if standing else "",
        "event": _event_page(standing.because) if standing else "",
        "timeline": [
            {"icon": _ICONS[one.kind], "entry": one, "ahead": one.at > found.now}
            for one in found.timeline
        ],
        "links": _links(request, found),
        "offers": [
            one
            for one in acts_for(request.user, found.org_id)
            if one.name in _REMEDIES.get(found.rule.code or "", ())
        ],
        "others": [
            {"row": one, "url": address(id=one.request_id or one.use_id)}
            for one in found.also_denied
        ],
    }


def _bar(found: Explanation) -> dict[str, int] | None:
    figures = found.figures
    if figures is None or figures.used is None:
        return None
    most = max(figures.included, figures.used, 1)
    return {
        "percent": min(100, figures.used * 100 // max(1, figures.included)),
        "filled": figures.used * 100 // most,
        "over": int(figures.used >= figures.included),
    }


def _event_page(because: str) -> str:
    """Return the page of the event that a status is owed to, where one is named."""
    event = _EVENT.search(because)
    return reverse("admin:webhooks_webhookevent_change", args=[event[0]]) if event else ""


def _links(request: HttpRequest, found: Explanation) -> list[tuple[str, str]]:
    listed = {
        "usage_usageevent": ("Events", f"?q={found.org_id}&metric={found.metric}"),
        "quotas_usagecounter": ("Counters", f"?q={found.org_id}&metric={found.metric}"),
        "quotas_denial": ("Denials", f"?q={found.org_id}&metric={found.metric}"),
        "quotas_entitlementevent": ("Entitlement history", f"?q={found.org_id}"),
        "webhooks_webhookevent": ("Webhook events", f"?q={found.org_id}"),
        "tokens_auditentry": ("Audit", f"?q={found.org_id}"),
    }
    return [
        (title, reverse(f"admin:{page}_changelist") + query)
        for page, (title, query) in listed.items()
        if request.user.has_perm("{}.view_{}".format(*page.split("_", 1)))
    ]
