"""Every route there is."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView, TemplateView

from billing.changes.views import CheckoutPageViewSet, PlanChangeViewSet, PreviewViewSet
from billing.contact.views import ContactViewSet
from billing.notifications.views import NotificationsViewSet
from billing.payment_views import InvoiceViewSet, PaymentViewSet
from billing.portal.api import PortalLinkViewSet
from billing.portal.urls import portal_urls
from billing.statements.views import StatementViewSet
from billing.views import PlanViewSet, SignUpViewSet
from config import views
from config.apidocs import SchemaView, SwaggerView
from config.backoffice.explain import page as explain_page
from config.backoffice.exports import views as export_views
from config.backoffice.organisation.page import organisation
from config.backoffice.search import search
from config.backoffice.second_factor import views as second_factor
from config.fallbacks import not_found
from quotas.staff_views import ResetViewSet
from quotas.views import EntitlementViewSet, QuotaViewSet
from tokens.views import (
    ActivationViewSet,
    AdminTokenViewSet,
    CodeViewSet,
    FamilyViewSet,
    OperatorTokenViewSet,
    RefreshViewSet,
    RevokeViewSet,
    jwks,
)
from usage.explain_views import ExplainViewSet
from usage.read_views import LedgerViewSet, VoidViewSet
from usage.views import UsageViewSet
from webhooks.views import ReplayViewSet, StripeWebhookViewSet

handler400 = "config.fallbacks.bad_request"
handler403 = "config.fallbacks.forbidden"
handler404 = "config.fallbacks.not_found"
handler500 = "config.fallbacks.server_error"

_ADMIN, _ADMIN_APP, _ADMIN_NAMESPACE = admin.site.urls

urlpatterns = [
    # The two hot routes first: the resolver walks this list.
    path("api/quota/check", QuotaViewSet.as_view({"post": "check"})),
    path("api/v1/usage", UsageViewSet.as_view({"post": "create", "get": "list"})),
    path("api/v1/usage/batch", UsageViewSet.as_view({"post": "batch"})),
    path("api/v1/usage/series", LedgerViewSet.as_view({"get": "series"})),
    path("api/v1/usage/void", VoidViewSet.as_view({"post": "create"})),
    path("api/admin/quotas/reset", ResetViewSet.as_view({"post": "create"})),
    path("api/quota/explain", ExplainViewSet.as_view({"get": "retrieve"})),
    path("api/me/entitlements", EntitlementViewSet.as_view({"get": "retrieve"})),
    path("api/me", ContactViewSet.as_view({"patch": "partial_update"})),
    path("api/signup", SignUpViewSet.as_view({"post": "create"})),
    path("api/plans", PlanViewSet.as_view({"get": "list"})),
    path("api/plans/preview", PreviewViewSet.as_view({"post": "create"})),
    path("api/plans/upgrade", PlanChangeViewSet.as_view({"post": "upgrade"})),
    path(
        "api/plans/downgrade",
        PlanChangeViewSet.as_view({"post": "downgrade", "delete": "keep_plan"}),
    ),
    path("api/plans/cancel", PlanChangeViewSet.as_view({"post": "cancel"})),
    path("api/plans/resume", PlanChangeViewSet.as_view({"post": "resume"})),
    path("api/plans/subscribe", PlanChangeViewSet.as_view({"post": "subscribe"})),
    path("api/plans/checkout", CheckoutPageViewSet.as_view({"post": "create"})),
    path("api/invoices", InvoiceViewSet.as_view({"get": "list"})),
    path("api/statements", StatementViewSet.as_view({"get": "retrieve"})),
    path("api/notifications", NotificationsViewSet.as_view({"get": "retrieve", "put": "update"})),
    path("api/notifications/secret", NotificationsViewSet.as_view({"post": "rotate"})),
    path("api/payments/setup", PaymentViewSet.as_view({"post": "start_setup"})),
    path("api/payments/portal", PaymentViewSet.as_view({"post": "portal"})),
    path("api/portal-links", PortalLinkViewSet.as_view({"post": "create"})),
    path("api/tokens/activate", ActivationViewSet.as_view({"post": "activate"})),
    path("api/tokens/refresh", RefreshViewSet.as_view({"post": "refresh"})),
    path("api/tokens/revoke", RevokeViewSet.as_view({"post": "revoke"})),
    path("api/tokens/operator", OperatorTokenViewSet.as_view({"post": "create"})),
    path("api/tokens/codes", CodeViewSet.as_view({"post": "create"})),
    path("api/tokens", FamilyViewSet.as_view({"get": "list"})),
    path("api/tokens/<str:family_id>", FamilyViewSet.as_view({"delete": "destroy"})),
    path(".well-known/jwks.json", jwks),
    path("api/admin/token", AdminTokenViewSet.as_view({"post": "create"})),
    path("api/webhooks/stripe", StripeWebhookViewSet.as_view({"post": "receive"})),
    path("api/admin/webhooks/replay", ReplayViewSet.as_view({"post": "create"})),
    path("api/diag/smoke", views.SmokeViewSet.as_view({"get": "retrieve"})),
    path("api/schema", SchemaView.as_view(), name="schema"),
    path("api/docs", SwaggerView.as_view(url_name="schema"), name="docs"),
    # Where Stripe's Checkout leads back to (billing.checkouts).
    path("portal/checkout/done", TemplateView.as_view(template_name="pages/checkout_done.html")),
    path("portal/checkout/left", TemplateView.as_view(template_name="pages/checkout_left.html")),
    # And its portal, where the caller named no page (billing.payments).
    path("portal/billing/done", TemplateView.as_view(template_name="pages/billing_done.html")),
    *portal_urls,
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("metrics", views.prometheus),
    path("admin/acts/", include("config.backoffice.acts.urls")),
    path("admin/find/", admin.site.admin_view(search), name="search"),
    path(
        "admin/organisations/<str:org_id>/",
        admin.site.admin_view(organisation),
        name="organisation",
    ),
    path("admin/second-factor/", admin.site.admin_view(second_factor.page), name="second-factor"),
    # Nothing of ours is completed while one types or has a page on a public site, and what
    # Django serves for both fails on models and keys that it does not expect.
    re_path(r"^admin/(?:autocomplete|r)/", not_found, kwargs={"exception": None}),
    # Pages of ours under the admin's own names, before its last pattern, which takes all.
    path(
        "admin/",
        (
            [*explain_page.urlpatterns, *export_views.urlpatterns, *_ADMIN],
            _ADMIN_APP,
            _ADMIN_NAMESPACE,
        ),
    ),
    path("", RedirectView.as_view(url="/admin/")),
    re_path(r"^api(?:/.*)?$", not_found, kwargs={"exception": None}),
]
