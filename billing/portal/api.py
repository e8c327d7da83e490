"""HTTP door of the links to the usage page."""

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from billing.bodies import OrgBody, PortalLinkAnswer
from config.contract import clock
from config.contract.bodies import parse, rfc3339
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope
from tokens.portal import make_link
from tokens.throttles import count_portal_link


class PortalLinkViewSet(ContractViewSet):
    """POST /api/portal-links."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_READ)]

    @documented(
        summary="A link to the usage page",
        tag="payments",
        description="Used once, within 15 minutes. The page may do no more than this token.",
        body=OrgBody,
        body_example={"orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"},
        answer=PortalLinkAnswer,
        answer_example={
            "url": "https://metergate.example.com/portal/mgl_4q2v6…",
            "expiresAt": "2026-11-22T10:15:00Z",
        },
        errors=(429,),
    )
    def create(self, request: Request) -> HttpResponse:
        """Make a link that a person opens in a browser."""
        body = parse(OrgBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        count_portal_link(caller.org_id)
        made = make_link(caller=caller, now=clock.real_now())
        url = settings.PUBLIC_URL + reverse("portal-link", args=[made.token])
        return success(
            PortalLinkAnswer(url=url, expires_at=rfc3339(made.expires_at)), no_store=True
        )
