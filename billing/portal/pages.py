"""The door, the page itself, and what it gives to download."""

import json
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from billing.portal import browser, documents, metering, subscription
from billing.portal.base import PortalPage, VisitPage
from billing.statements.page import as_page
from billing.statements.services import statement
from billing.statements.views import as_csv
from config.contract import clock
from config.contract.errors import ApiError, NotFound
from quotas.queries import current_entitlement
from tokens import portal, secrets
from tokens.portal import LinkGone

#: What the page says after something was done, by the word in its address.
DONE = {
    "upgrade": "Done. You are on the {plan} plan now.",
    "subscribe": "Done. You are on the {plan} plan now.",
    "downgrade": "Done. The change is scheduled; until then nothing changes.",
    "keep-plan": "Done. You stay on the {plan} plan.",
    "cancel": "Done. Your plan ends with its period and does not renew.",
    "resume": "Done. Your {plan} plan goes on.",
}


class Gone(ApiError):
    """The link cannot be used: unknown, used, expired or ended."""

    def __init__(self) -> None:
        super().__init__("LINK_GONE", "The link is no longer valid", 410)


class LinkPage(PortalPage):
    """The door. Looking at it uses nothing up, so a mail scanner may; its one button does."""

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Show the button."""
        try:
            portal.look_at(token=token, now=clock.real_now())
        except LinkGone:
            raise Gone from None
        nonce = browser.nonce_of(request) or secrets.new_nonce()
        response = self.page("link", form_token=secrets.form_token(nonce))
        browser.keep(response, browser.NONCE, nonce, age=settings.PORTAL_LINK_LIFE, strict=True)
        return response

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        """Use the link up and begin the visit."""
        nonce = browser.nonce_of(request)
        browser.check_form(request, nonce)
        try:
            secret, visit = portal.open_visit(token=token, nonce=nonce, now=clock.real_now())
        except LinkGone:
            raise Gone from None
        response = see_other("portal-usage")
        left: timedelta = visit.ends_at - clock.real_now()
        browser.keep(response, browser.VISIT, secret, age=left, strict=False)
        return response


class UsagePage(VisitPage):
    """Plan, use, statements, invoices: what there is to see, and where to change it."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show it. Asks nothing of Stripe: the page is there when Stripe is not."""
        now, org_id = clock.now(), self.visit.org_id
        current = current_entitlement(org_id=org_id, now=now)
        if current is None:
            raise NotFound
        shown = subscription.overview(current, now=now)
        done = DONE.get(request.GET.get("done", ""), "")
        return self.page(
            "usage",
            now=now,
            subscription=shown,
            metrics=metering.cards(current, now=now),
            period=current.period,
            period_ends=current.period.end - timedelta(microseconds=1),
            statements=documents.statements(org_id, running=current.period),
            invoices=documents.invoices(org_id),
            done=done.format(plan=shown.name),
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Close the visit."""
        portal.close_visit(self.visit, now=clock.real_now())
        response = self.page("closed")
        browser.forget(response, browser.VISIT)
        return response


class StatementPage(VisitPage):
    """A statement as a page to print, or as a file."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, period_key: str, form: str = "json") -> HttpResponse:
        """Return it, as a page, as JSON or as CSV."""
        now = clock.now()
        found = statement(org_id=self.visit.org_id, period_key=period_key, now=now)
        if form == "csv":
            return as_csv(found)
        if form == "page":
            return as_page(found, org_id=self.visit.org_id, now=now)
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        response = HttpResponse(text, content_type="application/json; charset=utf-8")
        name = f"statement-{found['periodKey']}.json"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def see_other(name: str, query: str = "") -> HttpResponse:
    """Lead a browser on after a form, so that a reload repeats nothing."""
    return HttpResponseRedirect(reverse(name) + query, status=303)
