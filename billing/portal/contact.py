"""The pages behind the links in e-mails: is this address to be the organisation's, or told?"""

from abc import abstractmethod
from typing import ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from billing.contact import services
from billing.contact.models import EmailChange
from billing.models import Organization
from billing.notifications import addresses
from billing.notifications.models import NotificationAddress
from billing.portal import browser
from billing.portal.base import PortalPage
from billing.portal.pages import Gone
from config.contract import clock
from tokens import secrets, throttles


class ConfirmationPage(PortalPage):
    """Looking at it uses nothing up, so a mail scanner may; its one button does."""

    #: The template that asks; the one that thanks is called the same, `_confirmed`.
    template: ClassVar[str]

    @abstractmethod
    def look_at(self, token: str) -> EmailChange | NotificationAddress:
        """Return what a link would confirm. Raises LinkGone."""

    @abstractmethod
    def confirm(self, token: str) -> EmailChange | NotificationAddress:
        """Use a link up. Raises LinkGone."""

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        """Show the address and the button."""
        try:
            link = self.look_at(token)
        except services.LinkGone:
            raise Gone from None
        organization = Organization.objects.get(org_id=link.org_id)
        nonce = browser.nonce_of(request) or secrets.new_nonce()
        response = self.page(
            self.template,
            form_token=secrets.form_token(nonce),
            name=organization.name,
            email=link.email,
        )
        browser.keep(response, browser.NONCE, nonce, age=settings.PORTAL_LINK_LIFE, strict=True)
        return response

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        """Use the link up."""
        throttles.count_opening(request)
        browser.check_form(request, browser.nonce_of(request))
        try:
            confirmed = self.confirm(token)
        except services.LinkGone:
            raise Gone from None
        return self.page(f"{self.template}_confirmed", email=confirmed.email)


class EmailPage(ConfirmationPage):
    """The address is the organisation's from then on."""

    template = "email"

    def look_at(self, token: str) -> EmailChange:
        """Return the change that a link would confirm. Raises LinkGone."""
        return services.look_at(token=token, now=clock.real_now())

    def confirm(self, token: str) -> EmailChange:
        """Change the address. Raises LinkGone."""
        return services.confirm(token=token, now=clock.real_now())


class NoticesPage(ConfirmationPage):
    """Notices go to the address from then on."""

    template = "notices"

    def look_at(self, token: str) -> NotificationAddress:
        """Return the address that a link would confirm. Raises LinkGone."""
        return addresses.look_at(token=token, now=clock.real_now())

    def confirm(self, token: str) -> NotificationAddress:
        """Let the address be told. Raises LinkGone."""
        return addresses.confirm(token=token, now=clock.real_now())
