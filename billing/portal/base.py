"""What every page of the portal has in common: its headers, its faults, its visit."""

from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from billing.portal import browser, wording
from config.contract import clock
from config.contract.context import identify
from config.contract.errors import ApiError, Forbidden, NotFound
from config.contract.ids import is_well_formed
from config.contract.responses import as_api_error
from tokens import portal, secrets
from tokens.portal import Visit

logger = structlog.get_logger("metergate.portal")


class VisitOver(ApiError):
    """There is no visit: it timed out, was closed, or what allowed it has ended."""

    def __init__(self) -> None:
        super().__init__("VISIT_OVER", "Ask for a new link", 401)


class ReadOnlyVisit(Forbidden):
    """The token that made the link may look and not act."""

    def __init__(self) -> None:
        super().__init__("This link was made to look at, not to change anything.")


# Our forms are checked by billing.portal.browser, which says why.
@method_decorator(csrf_exempt, name="dispatch")
class PortalPage(View):
    """A page that nobody else's page may embed, remember or learn the address of."""

    http_method_names = ["get", "head", "post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer. A refusal or a fault is a page that says what to do."""
        try:
            self.enter(request)
            response = super().dispatch(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - every fault of a page is a page
            response = self.problem(error)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex"
        return response

    def enter(self, request: HttpRequest) -> None:
        """Look at who comes, before anything else. Raises ApiErrors."""

    def page(self, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
        """Return a page made of a template."""
        context.setdefault("sandbox", settings.STRIPE_MODE == "sandbox")
        return render(self.request, f"portal/{template}.html", context, status=status)

    def problem(self, error: Exception) -> HttpResponse:
        """Return the page that says what went wrong."""
        refusal = as_api_error(error)
        if refusal.status >= 500:
            log = logger.warning if isinstance(error, ApiError) else logger.exception
            log("page_failed", error=type(error).__name__, code=refusal.code)
        response = self.page("problem", status=refusal.status, problem=wording.explained(refusal))
        for name, value in refusal.headers.items():
            response.headers[name] = value
        return response


class VisitPage(PortalPage):
    """A page for somebody who came by a link."""

    #: Whether the page is of use only to who may change something.
    acting = False
    visit: Visit
    secret: str

    def enter(self, request: HttpRequest) -> None:
        """Find the visit. Raises VisitOver, FormRefused, ReadOnlyVisit or NotFound."""
        self.secret = browser.cookie(request, browser.VISIT)
        visit = portal.visit_by(secret=self.secret, now=clock.real_now()) if self.secret else None
        if visit is None:
            raise VisitOver
        self.visit = visit
        identify(request, tenant_id=visit.org_id, principal=visit.who, scopes=visit.scopes)
        if request.method == "POST":
            browser.check_form(request, self.secret)
        if self.acting and not visit.may_act:
            raise ReadOnlyVisit
        if not all(map(is_well_formed, self.kwargs.values())):
            # What the path names is looked up, and PostgreSQL takes no NUL.
            raise NotFound

    def page(self, template: str, *, status: int = 200, **context: Any) -> HttpResponse:
        """Return a page with what its forms and its frame need."""
        if hasattr(self, "visit"):
            context["visit"] = self.visit
            context["form_token"] = secrets.form_token(self.secret)
        return super().page(template, status=status, **context)
