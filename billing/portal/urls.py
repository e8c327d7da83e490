"""The pages of the portal, for config.urls to list."""

from django.urls import path

from billing.portal import acts, contact, pages

portal_urls = [
    path("portal/usage", pages.UsagePage.as_view(), name="portal-usage"),
    path(
        "portal/statements/<str:period_key>.json",
        pages.StatementPage.as_view(),
        name="portal-statement-json",
    ),
    path(
        "portal/statements/<str:period_key>.csv",
        pages.StatementPage.as_view(),
        kwargs={"form": "csv"},
        name="portal-statement-csv",
    ),
    path(
        "portal/statements/<str:period_key>",
        pages.StatementPage.as_view(),
        kwargs={"form": "page"},
        name="portal-statement",
    ),
    path("portal/plans/<str:plan_code>", acts.PlanPage.as_view(), name="portal-plan"),
    path("portal/cancel", acts.CancelPage.as_view(), name="portal-cancel"),
    path("portal/resume", acts.ResumePage.as_view(), name="portal-resume"),
    path("portal/keep-plan", acts.KeepPage.as_view(), name="portal-keep-plan"),
    path(
        "portal/payment-method",
        acts.StripePage.as_view(flow="payment_method_update"),
        name="portal-payment-method",
    ),
    path("portal/billing", acts.StripePage.as_view(), name="portal-billing"),
    path("portal/email/<str:token>", contact.EmailPage.as_view(), name="portal-email"),
    path("portal/notices/<str:token>", contact.NoticesPage.as_view(), name="portal-notices"),
    # Last: a link's token is any word.
    path("portal/<str:token>", pages.LinkPage.as_view(), name="portal-link"),
]
