"""`/admin/organisations/<org_id>/`: where support works."""

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from billing.models import Organization
from config.backoffice import ranges
from config.backoffice.acts import acts_for
from config.backoffice.organisation import sections, timeline
from config.backoffice.roles import OUR_APPS
from config.contract import clock
from config.contract.ids import is_well_formed
from quotas import rules
from quotas.queries import current_entitlement

STRIPE_DASHBOARD = "https://dashboard.stripe.com"


def organisation(request: HttpRequest, org_id: str) -> HttpResponse:
    """Show an organisation. An id that nobody has is said to be missing, as Django's admin does.

    Every role reads every table, so the page asks for the right to read a customer
    and all that hangs on it, instead of leaving holes.
    """
    if not all(request.user.has_module_perms(app) for app in OUR_APPS) or not (
        request.user.has_perm("billing.view_organization")
    ):
        raise PermissionDenied
    # Out of the address: PostgreSQL takes no NUL.
    known = is_well_formed(org_id)
    found = Organization.objects.filter(org_id=org_id).first() if known else None
    if found is None:
        messages.error(request, f"There is no organisation {org_id[:40]}.")
        return HttpResponseRedirect(reverse("admin:index"))
    context = {**admin.site.each_context(request), **_context(request, found)}
    return TemplateResponse(request, "admin/organisation.html", context)


def _context(request: HttpRequest, found: Organization) -> dict[str, Any]:
    now, org_id = clock.now(), found.org_id
    days = ranges.asked_days(request.GET, now=now)
    current = current_entitlement(org_id=org_id, now=now)
    held = sections.all_of(org_id, now=clock.real_now())
    return {
        "title": found.name,
        "org": found,
        "acts": acts_for(request.user, org_id),
        "now": now,
        "days": days,
        "choices": ranges.CHOICES,
        "current": current,
        "has_access": current is not None and rules.has_access(current.entitlement, now),
        "access": sections.access_of(org_id),
        "disputed": sections.disputed(org_id),
        "gauges": sections.gauges(org_id, current) if current else [],
        "usage": sections.use_by_day(org_id, days),
        "sections": [one for one in held if one.rows],
        "empty": [one for one in held if not one.rows],
        "lists": sections.other_lists(org_id),
        "timeline": timeline.timeline(org_id),
        "stripe_url": _stripe_url(found.stripe_customer_id),
    }


def _stripe_url(customer_id: str) -> str:
    """Return the customer's page at Stripe; the sandbox has none."""
    if settings.STRIPE_BASE_URL is not None or not customer_id:
        return ""
    mode = "" if "_live_" in settings.STRIPE_API_KEY else "/test"
    return f"{STRIPE_DASHBOARD}{mode}/customers/{customer_id}"
