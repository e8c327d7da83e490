"""HTTP doors of activation and the staff log-in."""

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import domains
from tokens.bodies import ActivateBody, AdminTokenAnswer, AdminTokenBody, TokensAnswer
from tokens.services import IssuedTokens, activate
from tokens.staff import staff_token
from tokens.throttles import AdminTokenThrottle, TokenThrottle

_LIFE = int(settings.ACCESS_TOKEN_LIFE.total_seconds())


class ActivationViewSet(ContractViewSet):
    """POST /api/tokens/activate."""

    throttle_classes = [TokenThrottle]

    @documented(
        summary="Trade an activation code for tokens",
        tag="tokens",
        body=ActivateBody,
        body_example={"activationCode": "mgc_4q2v6…"},
        answer=TokensAnswer,
        answer_example={
            "accessToken": "eyJ…",
            "refreshToken": "mgr_7d3k9…",
            "tokenType": "Bearer",
            "expiresIn": 600,
            "orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C",
            "scopes": ["entitlements:read", "usage:write"],
            "domain": None,
        },
        errors=(401, 413, 415, 429),
        public=True,
    )
    def activate(self, request: Request) -> HttpResponse:
        """Use a code up. Every way in which it is no good looks the same."""
        body = parse(ActivateBody, request)
        issued = activate(
            code=body.activation_code, domain=domains.claimed(http(request)), now=clock.real_now()
        )
        return success(_tokens(issued), no_store=True)


class AdminTokenViewSet(ContractViewSet):
    """POST /api/admin/token."""

    throttle_classes = [AdminTokenThrottle]

    @documented(
        summary="Log a member of staff in",
        tag="staff",
        body=AdminTokenBody,
        body_example={"username": "admin", "password": "…"},
        answer=AdminTokenAnswer,
        answer_example={"accessToken": "eyJ…", "expiresIn": 600},
        errors=(401, 413, 415, 429),
        public=True,
    )
    def create(self, request: Request) -> HttpResponse:
        """Return a staff token that lives ten minutes."""
        body = parse(AdminTokenBody, request)
        token = staff_token(
            request=http(request),
            username=body.username,
            password=body.password,
            now=clock.real_now(),
        )
        return success(AdminTokenAnswer(access_token=token, expires_in=_LIFE), no_store=True)


def _tokens(issued: IssuedTokens) -> TokensAnswer:
    family = issued.family
    return TokensAnswer(
        access_token=issued.access_token,
        refresh_token=issued.refresh_token,
        token_type="Bearer",  # noqa: S106 - the scheme's name
        expires_in=_LIFE,
        org_id=family.org_id,
        scopes=list(family.scopes),
        domain=family.domain or None,
    )
