"""HTTP door of an organisation's name and e-mail address."""

from django.http import HttpResponse
from rest_framework.request import Request

from billing.bodies import ContactAnswer, ContactBody
from billing.contact import doors
from config.contract.bodies import parse
from config.contract.idempotency import key_of
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope

_ORG = "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"


class ContactViewSet(ContractViewSet):
    """PATCH /api/me."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_WRITE)]

    @documented(
        summary="Change name or e-mail",
        tag="billing",
        description=(
            "A new address takes effect when the one-time link that is sent there is opened;"
            " until then it stands in `emailPending`. Naming the address in force takes it back."
        ),
        body=ContactBody,
        body_example={"orgId": _ORG, "orgName": "Acme Ltd", "email": "billing@acme.example"},
        answer=ContactAnswer,
        answer_example={
            "orgId": _ORG,
            "orgName": "Acme Ltd",
            "email": "owner@acme.example",
            "emailPending": "billing@acme.example",
        },
        keyed=True,
        errors=(409, 429),
    )
    def partial_update(self, request: Request) -> HttpResponse:
        """Change what is named; the rest stays."""
        key = key_of(http(request))
        body = parse(ContactBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        answer = doors.by_owner(org_id=caller.org_id, name=body.org_name, email=body.email, key=key)
        contact = answer.contact
        return success(
            ContactAnswer(
                org_id=contact.org_id,
                org_name=contact.name,
                email=contact.email,
                email_pending=contact.email_pending,
            ),
            headers={"Idempotent-Replayed": "true"} if answer.replayed else None,
        )
