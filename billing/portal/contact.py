"""The page behind the link in an e-mail: is this address to be the organisation's?"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from billing.contact import services
from billing.models import Organization
from billing.portal import browser
from billing.portal.base import PortalPage
from billing.portal.pages import Gone
from config.contract import clock
from tokens import secrets, throttles


class EmailPage(PortalPage):
    """Looking at it uses nothing up, so a mail scanner may; its one button does."""

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Show the address and the button."""
        try:
            change = services.look_at(token=token, now=clock.real_now())
        except services.LinkGone:
            raise Gone from None
        organization = Organization.objects.get(org_id=change.org_id)
        nonce = browser.nonce_of(request) or secrets.new_nonce()
        response = self.page(
            "email",
            form_token=secrets.form_token(nonce),
            name=organization.name,
            email=change.email,
        )
        browser.keep(response, browser.NONCE, nonce, age=settings.PORTAL_LINK_LIFE, strict=True)
        return response

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        """Use the link up: the address is the organisation's from now on."""
        throttles.count_opening(request)
        browser.check_form(request, browser.nonce_of(request))
        try:
            change = services.confirm(token=token, now=clock.real_now())
        except services.LinkGone:
            raise Gone from None
        return self.page("email_confirmed", email=change.email)
