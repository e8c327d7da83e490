"""HTTP doors of invoices, cards and Stripe's portal."""

from django.http import HttpResponse
from rest_framework.request import Request

from billing import payments
from billing.bodies import (
    InvoiceAnswer,
    InvoicesAnswer,
    InvoicesQuery,
    OrgBody,
    PortalBody,
    SetupAnswer,
    UrlAnswer,
)
from billing.convergence import instant
from config.contract.bodies import parse, parse_query, rfc3339
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope
from tokens.throttles import count_stripe_page

_ORG = "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"


class InvoiceViewSet(ContractViewSet):
    """GET /api/invoices."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_READ)]

    @documented(
        summary="The invoices",
        tag="payments",
        query=InvoicesQuery,
        answer=InvoicesAnswer,
        answer_example={
            "invoices": [
                {
                    "id": "in_1",
                    "amount": 9900,
                    "currency": "usd",
                    "status": "paid",
                    "url": "https://invoice.stripe.com/i/1",
                    "created": "2026-11-22T10:00:00Z",
                }
            ],
            "nextCursor": None,
        },
        errors=(502,),
    )
    def list(self, request: Request) -> HttpResponse:
        """Return a page, newest first."""
        asked = parse_query(InvoicesQuery, request)
        caller = acting_for(http(request), caller_of(request), None)
        page = payments.list_invoices(org_id=caller.org_id, cursor=asked.cursor, limit=asked.limit)
        return success(
            InvoicesAnswer(
                invoices=[
                    InvoiceAnswer(
                        id=one["id"],
                        amount=one["total"],
                        currency=one["currency"],
                        status=one["status"],
                        url=one.get("hosted_invoice_url"),
                        created=rfc3339(instant(one["created"])),
                    )
                    for one in page.invoices
                ],
                next_cursor=page.next_cursor,
            )
        )


class PaymentViewSet(ContractViewSet):
    """POST /api/payments/setup and /api/payments/portal."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_WRITE)]

    @documented(
        summary="Attach a card",
        tag="payments",
        body=OrgBody,
        body_example={"orgId": _ORG},
        answer=SetupAnswer,
        answer_example={"clientSecret": "seti_…"},
        errors=(429, 502),
    )
    def start_setup(self, request: Request) -> HttpResponse:
        """Return the client secret of a new SetupIntent; once it succeeds, its card is charged."""
        body = parse(OrgBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        count_stripe_page(caller.org_id)
        secret = payments.start_setup(org_id=caller.org_id)
        return success(SetupAnswer(client_secret=secret), no_store=True)

    @documented(
        summary="Stripe's portal",
        tag="payments",
        body=PortalBody,
        body_example={"orgId": _ORG},
        answer=UrlAnswer,
        answer_example={"url": "https://billing.stripe.com/p/session/1"},
        errors=(429, 502),
    )
    def portal(self, request: Request) -> HttpResponse:
        """Return a short-lived page on which the customer manages cards and invoices."""
        body = parse(PortalBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        count_stripe_page(caller.org_id)
        url = payments.open_portal(org_id=caller.org_id, return_url=body.return_url)
        return success(UrlAnswer(url=url), no_store=True)
