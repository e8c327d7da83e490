"""HTTP door of the notification settings."""

from django.http import HttpResponse
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from billing.bodies import OrgBody
from billing.notifications import services
from billing.notifications.bodies import (
    NotificationsAnswer,
    NotificationsBody,
    NotificationsMeta,
    SecretAnswer,
)
from config.contract import clock
from config.contract.bodies import parse, rfc3339
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import scopes
from tokens.authentication import TokenAuthentication
from tokens.permissions import acting_for, caller_of, needs_scope

_ORG = "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C"
_EXAMPLE = {
    "url": "https://hooks.acme.example/metergate",
    "emails": ["ops@acme.example"],
    "thresholds": [50, 80, 100],
}
_SECRET = "whsec_…"  # noqa: S105 - an example


class NotificationsViewSet(ContractViewSet):
    """GET /api/notifications."""

    authentication_classes = [TokenAuthentication]

    def get_permissions(self) -> list[BasePermission]:
        """Ask for reading or for writing."""
        reads = self.action == "retrieve"
        return [needs_scope(scopes.BILLING_READ if reads else scopes.BILLING_WRITE)()]

    @documented(
        summary="Where you are told",
        tag="notifications",
        answer=NotificationsAnswer,
        answer_example=_EXAMPLE,
        meta=NotificationsMeta,
    )
    def retrieve(self, request: Request) -> HttpResponse:
        """Return the URL, the e-mail addresses and the thresholds; the secret is not shown."""
        caller = acting_for(http(request), caller_of(request), None)
        current = services.get(org_id=caller.org_id)
        return success(_answer(current), meta=_meta(current))

    @documented(
        summary="Say where to tell you",
        tag="notifications",
        body=NotificationsBody,
        body_example={"orgId": _ORG, **_EXAMPLE},
        answer=NotificationsAnswer,
        answer_example={**_EXAMPLE, "secret": _SECRET},
        meta=NotificationsMeta,
        errors=(429,),
        description=(
            "An address that is new is sent one link, and is told once its reader has pressed the"
            " button there; until then it stands in `meta.emailsPending`."
        ),
    )
    def update(self, request: Request) -> HttpResponse:
        """Replace all of it. The first URL makes the signing secret, which is shown this once."""
        body = parse(NotificationsBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        asked = services.put(
            org_id=caller.org_id,
            url=body.url,
            emails=body.emails,
            percents=body.thresholds,
            now=clock.now(),
            real_now=clock.real_now(),
        )
        return success(_answer(asked), meta=_meta(asked), no_store=True)

    @documented(
        summary="Rotate the signing secret",
        tag="notifications",
        body=OrgBody,
        body_example={"orgId": _ORG},
        answer=SecretAnswer,
        answer_example={"secret": _SECRET, "previousUntil": "2026-11-23T10:00:00Z"},
    )
    def rotate(self, request: Request) -> HttpResponse:
        """Return a new secret, this once; for a day the one before it signs beside it."""
        body = parse(OrgBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        rotated = services.rotate_secret(org_id=caller.org_id, now=clock.real_now())
        until = rotated.previous_until
        answer = SecretAnswer(
            secret=rotated.secret, previous_until=rfc3339(until) if until else None
        )
        return success(answer, no_store=True)


def _answer(asked: services.Asked) -> NotificationsAnswer:
    return NotificationsAnswer(
        url=asked.url, emails=asked.emails, thresholds=asked.thresholds, secret=asked.secret
    )


def _meta(asked: services.Asked) -> dict[str, list[str]] | None:
    return {"emailsPending": asked.pending} if asked.pending else None
