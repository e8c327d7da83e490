"""The sidebar: which pages there are, by what staff came for."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

from config.backoffice.acts.registry import acts_open_to
from config.backoffice.explain import page as explain_page
from config.contract.admin import plural
from config.contract.history_admin import Changes

#: Headings, each with its pages: model and icon (Material Symbols, served from here).
PAGES: dict[str, dict[str, str]] = {
    "Customers": {
        "billing.Organization": "apartment",
        "quotas.Entitlement": "verified",
        "tokens.OrgAccess": "door_front",
    },
    "Usage": {
        "quotas.UsageCounter": "speed",
        "usage.UsageEvent": "receipt_long",
        "usage.UsageVoid": "undo",
        "usage.DailyUsage": "bar_chart",
        "usage.DailyTotal": "monitoring",
        "quotas.Denial": "block",
        "quotas.DeniedRequest": "do_not_disturb_on",
        "quotas.Adjustment": "exposure",
        "quotas.Forgiveness": "restart_alt",
        "usage.CounterCheck": "rule",
        "quotas.CounterRepair": "build",
        "quotas.ThresholdCrossed": "notification_important",
        "quotas.ThresholdChoice": "tune",
        "usage.ImportRun": "upload_file",
        "quotas.Metric": "straighten",
    },
    "Stripe": {
        "billing.Plan": "sell",
        "billing.PlanPrice": "price_change",
        "billing.Subscription": "autorenew",
        "billing.InvoiceRef": "request_quote",
        "billing.EmailChange": "contact_mail",
        "billing.Statement": "description",
        "billing.UnpricedOverage": "money_off",
        "billing.Operation": "sync_alt",
        "webhooks.WebhookEvent": "webhook",
        "webhooks.EventCoverage": "playlist_add_check",
    },
    "Notifications": {
        "billing.Notification": "notifications",
        "billing.Delivery": "outgoing_mail",
        "billing.NotificationSettings": "contact_mail",
        "billing.NotificationAddress": "mark_email_read",
    },
    "Access": {
        "tokens.TokenFamily": "devices",
        "tokens.ActivationCode": "pin",
        "tokens.RefreshToken": "key",
        "tokens.PortalLink": "link",
        "tokens.OperatorKey": "vpn_key",
        "tokens.AuditEntry": "history",
        "tokens.StaffLogIn": "login",
        "backoffice.RecoveryCode": "emergency",
        "backoffice.StaffAct": "gavel",
        "backoffice.Export": "download",
    },
    "System": {
        "contract.Installation": "dns",
        "billing.IdempotencyKey": "content_copy",
        "contract.KeyedRequest": "content_copy",
        "auth.User": "person",
        "auth.Group": "group",
    },
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the headings with the pages that this member of staff may see."""
    groups: list[dict[str, Any]] = []
    first = []
    if request.user.has_perm(explain_page.PERMISSION):
        first.append({"title": "Explain", "icon": "help", "link": explain_page.address()})
    if acts_open_to(request.user):
        first.append({"title": "Acts", "icon": "bolt", "link": reverse("acts")})
    if first:
        groups.append({"items": first})
    for heading, pages in {**PAGES, "History": _histories()}.items():
        items = [_item(label, icon) for label, icon in pages.items() if _may_see(request, label)]
        if items:
            groups.append({"title": heading, "separator": True, "items": items})
    groups.append({"separator": True, "items": [_API]})
    return groups


def account(request: HttpRequest) -> list[dict[str, Any]]:
    """Return what is in the menu of one's own account."""
    links = [{"title": "Change password", "link": reverse("admin:password_change")}]
    if settings.STAFF_MFA:
        links.append({"title": "Second factor", "link": reverse("second-factor")})
    return links


_API = {"title": "API", "icon": "api", "link": "/api/docs"}


def _histories() -> dict[str, str]:
    return {
        model._meta.label: "history_edu"
        for model, page in admin.site._registry.items()
        if isinstance(page, Changes)
    }


def _may_see(request: HttpRequest, label: str) -> bool:
    app_label, _, model = label.lower().partition(".")
    return request.user.has_perm(f"{app_label}.view_{model}")


def _item(label: str, icon: str) -> dict[str, Any]:
    model = apps.get_model(label)
    name = label.lower().replace(".", "_")
    return {
        "title": capfirst(plural(model)),
        "icon": icon,
        "link": reverse(f"admin:{name}_changelist"),
    }
