"""HTTP doors of codes, tokens and log-ins."""

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from config.contract import clock
from config.contract.bodies import parse, rfc3339
from config.contract.errors import NotFound
from config.contract.ids import is_well_formed
from config.contract.openapi import documented
from config.contract.responses import success
from config.contract.views import ContractViewSet, http
from tokens import domains, jwt, scopes
from tokens.authentication import TokenAuthentication
from tokens.bodies import (
    ActivateBody,
    AdminTokenAnswer,
    AdminTokenBody,
    CodeAnswer,
    CodeBody,
    FamiliesAnswer,
    FamilyAnswer,
    OperatorAnswer,
    OperatorBody,
    RefreshBody,
    RevokedAnswer,
    TokensAnswer,
)
from tokens.codes import create_code
from tokens.families import live_families, refresh, revoke_by_token, revoke_family
from tokens.models import TokenFamily
from tokens.operators import operator_token
from tokens.permissions import acting_for, caller_of, needs_scope
from tokens.services import IssuedTokens, activate
from tokens.staff import staff_token
from tokens.throttles import AdminTokenThrottle, TokenThrottle

_LIFE = int(settings.ACCESS_TOKEN_LIFE.total_seconds())
_TOKENS = {
    "accessToken": "eyJ…",
    "refreshToken": "mgr_7d3k9…",
    "tokenType": "Bearer",
    "expiresIn": 600,
    "orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C",
    "scopes": ["entitlements:read", "usage:write"],
    "domain": None,
}


class ActivationViewSet(ContractViewSet):
    """POST /api/tokens/activate."""

    throttle_classes = [TokenThrottle]

    @documented(
        summary="Trade an activation code for tokens",
        tag="tokens",
        body=ActivateBody,
        body_example={"activationCode": "mgc_4q2v6…"},
        answer=TokensAnswer,
        answer_example=_TOKENS,
        errors=(401, 429),
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
        errors=(401, 403, 429),
        public=True,
    )
    def create(self, request: Request) -> HttpResponse:
        """Return a staff token that lives ten minutes."""
        body = parse(AdminTokenBody, request)
        token = staff_token(
            request=http(request),
            username=body.username,
            password=body.password,
            otp=body.otp,
            now=clock.real_now(),
        )
        return success(AdminTokenAnswer(access_token=token, expires_in=_LIFE), no_store=True)


class RefreshViewSet(ContractViewSet):
    """POST /api/tokens/refresh."""

    throttle_classes = [TokenThrottle]

    @documented(
        summary="Refresh",
        tag="tokens",
        body=RefreshBody,
        body_example={"refreshToken": "mgr_7d3k9…"},
        answer=TokensAnswer,
        answer_example=_TOKENS,
        errors=(401, 403, 429),
        public=True,
    )
    def refresh(self, request: Request) -> HttpResponse:
        """Trade a refresh token for its successor; reuse ends the family."""
        body = parse(RefreshBody, request)
        issued = refresh(
            token=body.refresh_token, domain=domains.claimed(http(request)), now=clock.real_now()
        )
        return success(_tokens(issued), no_store=True)


class RevokeViewSet(ContractViewSet):
    """POST /api/tokens/revoke."""

    throttle_classes = [TokenThrottle]

    @documented(
        summary="Revoke an installation by its refresh token",
        tag="tokens",
        body=RefreshBody,
        body_example={"refreshToken": "mgr_7d3k9…"},
        answer=RevokedAnswer,
        answer_example={"revoked": True},
        errors=(429,),
        public=True,
    )
    def revoke(self, request: Request) -> HttpResponse:
        """Say yes always."""
        body = parse(RefreshBody, request)
        revoke_by_token(token=body.refresh_token, now=clock.real_now())
        return success(RevokedAnswer(revoked=True))


class OperatorTokenViewSet(ContractViewSet):
    """POST /api/tokens/operator."""

    throttle_classes = [TokenThrottle]

    @documented(
        summary="Trade an operator credential for a token",
        tag="tokens",
        body=OperatorBody,
        body_example={"keyId": "opk_01KAPM3Q5M8Y2V4T6R8W0Z1X3C", "secret": "mgo_5f2x8…"},
        answer=OperatorAnswer,
        answer_example={
            "accessToken": "eyJ…",
            "tokenType": "Bearer",
            "expiresIn": 600,
            "scopes": ["usage:write"],
        },
        errors=(401, 429),
        public=True,
    )
    def create(self, request: Request) -> HttpResponse:
        """Return a token that lives ten minutes."""
        body = parse(OperatorBody, request)
        token, granted = operator_token(
            key_id=body.key_id, secret=body.secret, now=clock.real_now()
        )
        return success(
            OperatorAnswer(
                access_token=token,
                token_type="Bearer",  # noqa: S106 - the scheme's name
                expires_in=_LIFE,
                scopes=granted,
            ),
            no_store=True,
        )


class CodeViewSet(ContractViewSet):
    """POST /api/tokens/codes."""

    authentication_classes = [TokenAuthentication]
    permission_classes = [needs_scope(scopes.BILLING_WRITE)]

    @documented(
        summary="Make an activation code",
        tag="tokens",
        body=CodeBody,
        body_example={"orgId": "org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C", "domain": "shop.example"},
        answer=CodeAnswer,
        answer_example={
            "activationCode": "mgc_4q2v6…",
            "expiresAt": "2026-11-22T10:15:00Z",
        },
        errors=(409, 429),
    )
    def create(self, request: Request) -> HttpResponse:
        """Issue a one-time code, as far as the plan has room for another installation."""
        body = parse(CodeBody, request)
        caller = acting_for(http(request), caller_of(request), body.org_id)
        made = create_code(
            org_id=caller.org_id,
            issued_by=caller.subject,
            now=clock.real_now(),
            domain=body.domain,
            wanted=body.scopes,
            held=caller.scopes,
        )
        return success(
            CodeAnswer(activation_code=made.code, expires_at=rfc3339(made.expires_at)),
            no_store=True,
        )


class FamilyViewSet(ContractViewSet):
    """GET /api/tokens and DELETE /api/tokens/{id}."""

    authentication_classes = [TokenAuthentication]

    def get_permissions(self) -> list[BasePermission]:
        """Reading asks for less than revoking."""
        scope = scopes.BILLING_READ if self.action == "list" else scopes.BILLING_WRITE
        return [needs_scope(scope)()]

    @documented(
        summary="The live installations",
        tag="tokens",
        answer=FamiliesAnswer,
        answer_example={"families": []},
    )
    def list(self, request: Request) -> HttpResponse:
        """Return them, newest first."""
        caller = acting_for(http(request), caller_of(request), None)
        alive = live_families(caller.org_id, now=clock.real_now()).order_by("-created_at", "-id")
        return success(FamiliesAnswer(families=[_family(one) for one in alive]))

    @documented(
        summary="Revoke an installation",
        tag="tokens",
        answer=RevokedAnswer,
        answer_example={"revoked": True},
    )
    def destroy(self, request: Request, family_id: str) -> HttpResponse:
        """End a family; its access tokens stop at their next request."""
        caller = acting_for(http(request), caller_of(request), None)
        if not is_well_formed(family_id) or not revoke_family(
            org_id=caller.org_id, family_id=family_id, who=caller.subject, now=clock.real_now()
        ):
            raise NotFound
        return success(RevokedAnswer(revoked=True))


@csrf_exempt  # it changes nothing, and a POST is 405 here, not FORBIDDEN
@require_safe
def jwks(request: HttpRequest) -> HttpResponse:
    """The verification keys (RFC 7517), so that a client can verify offline."""
    response = HttpResponse(
        msgspec.json.encode(jwt.public_keys()), content_type="application/json; charset=utf-8"
    )
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


def _family(one: TokenFamily) -> FamilyAnswer:
    refreshed = one.last_refreshed_at
    return FamilyAnswer(
        id=one.id,
        domain=one.domain or None,
        scopes=list(one.scopes),
        created_at=rfc3339(one.created_at),
        last_refreshed_at=rfc3339(refreshed) if refreshed else None,
        expires_at=rfc3339(one.expires_at),
    )


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
