"""DRF authentication by bearer token."""

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from config.contract import clock
from config.contract.clients import clients
from config.contract.context import identify
from config.contract.errors import Forbidden, NotFound, Unauthenticated
from config.contract.ids import is_well_formed
from tokens import access, callers, domains, jwt, second_factor
from tokens.models import OPERATOR_KEY_PREFIX
from tokens.principals import ANY_ORG, Principal, StaffPrincipal


class TokenAuthentication(BaseAuthentication):
    """Organisations' and operators' access tokens (api.md sections 1 and 7)."""

    def authenticate(self, request: Request) -> tuple[Principal, None]:
        """Return the caller. Raises Unauthenticated or Forbidden; there are no anonymous calls."""
        return authenticate(request._request), None

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says on a 401."""
        return "Bearer"


def authenticate(request: HttpRequest) -> Principal:
    """Return who calls with a bearer token.

    Raises Unauthenticated (missing, bad, expired, revoked) or Forbidden (wrong
    domain, suspended). Which organisation the request names, in its body or the
    tenant header, is looked at after its shape: `tokens.permissions.acting_for`.
    """
    token = bearer(request)
    claims = jwt.read(token, audience=settings.TOKEN_AUDIENCE, now=clock.real_now())
    principal = Principal(
        subject=claims["sub"],
        org_id=claims["org"],
        scopes=frozenset(claims["scopes"]),
        domain=claims["domain"],
        family_id=claims["fam"],
    )
    # Known from here on, also to a refusal: a token of ours says whose it is.
    tenant_id = None if principal.is_operator else principal.org_id
    identify(request, tenant_id=tenant_id, principal=principal.subject, scopes=principal.scopes)
    if principal.domain:
        domains.require(request, principal.domain)
    try:
        principal = _let_in(request, principal)
    except Unauthenticated:
        callers.forget(token)
        raise
    owner = principal.subject if principal.is_operator else principal.org_id
    callers.remember(token, owner, until=claims["exp"])
    return principal


def _let_in(request: HttpRequest, principal: Principal) -> Principal:
    if principal.is_operator:
        # Its own row of access: a revoked key is suspended there.
        own = access.summary(principal.family_id, clients.copy.read(principal.family_id))
        if own is None or own.suspended:
            raise Unauthenticated("The token was revoked")
        return principal
    return admitted(request, principal, org_id=principal.org_id)


def admitted(request: HttpRequest, principal: Principal, *, org_id: str) -> Principal:
    """Let `principal` act for `org_id`: not suspended, not revoked. One read of the copy.

    Raises Unauthenticated, Forbidden, or NotFound where an operator names an
    organisation that does not exist.
    """
    if principal.is_operator and not _may_be_an_organisation(org_id):
        raise NotFound("No such organisation")
    held = clients.copy.read(org_id)
    summary = access.summary(org_id, held)
    if summary is None:
        raise NotFound("No such organisation") if principal.is_operator else Unauthenticated()
    if principal.is_operator:
        identify(request, tenant_id=org_id, principal=principal.subject, scopes=principal.scopes)
    summary.admit(None if principal.is_operator else principal.family_id)
    return replace(principal, org_id=org_id, copy=held)


def _may_be_an_organisation(org_id: str) -> bool:
    # An operator's key has a row of access like an organisation's, and is none.
    return is_well_formed(org_id) and not org_id.startswith(f"{OPERATOR_KEY_PREFIX}_")


def bearer(request: HttpRequest) -> str:
    """Return the bearer token of a request. Raises Unauthenticated."""
    kind, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    return str(token.strip())


class StaffAuthentication(BaseAuthentication):
    """Staff: a Django session with CSRF, or a staff token."""

    def authenticate(self, request: Request) -> tuple[Any, None]:
        """Return the staff principal. Raises Unauthenticated or Forbidden."""
        if "HTTP_AUTHORIZATION" in request.META:
            user = _staff_by_token(bearer(request._request))
        else:
            found = SessionAuthentication().authenticate(request)
            user = found[0] if found else None
        if user is None:
            raise Unauthenticated
        if not user.is_staff:
            raise Forbidden
        principal = StaffPrincipal(user)
        identify(request._request, tenant_id=None, principal=str(principal), scopes=frozenset())
        return principal, None

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says on a 401."""
        return "Bearer"


class TokenOrStaffAuthentication(BaseAuthentication):
    """Routes that both operators and staff may call; the token's audience says which."""

    def authenticate(self, request: Request) -> tuple[Any, None]:
        """Return the caller. Raises Unauthenticated or Forbidden."""
        of_staff = "HTTP_AUTHORIZATION" not in request.META or (
            jwt.claimed_audience(bearer(request._request)) == settings.STAFF_AUDIENCE
        )
        chosen = StaffAuthentication() if of_staff else TokenAuthentication()
        return chosen.authenticate(request)

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says on a 401."""
        return "Bearer"


def _staff_by_token(token: str) -> Any:
    claims = jwt.read(token, audience=settings.STAFF_AUDIENCE, now=clock.real_now())
    kind, _, pk = claims["sub"].partition(":")
    if kind != "staff" or claims["org"] != ANY_ORG:
        raise Unauthenticated
    # Staff routes are not hot: each request asks whether the person is still staff.
    user = get_user_model().objects.filter(pk=pk, is_active=True, is_staff=True).first()
    if user is None:
        raise Unauthenticated
    factor = second_factor.factor_of(user)
    # A change of the password ends the sessions, and these too; so does one of the second
    # factor, and the day on which one is needed.
    if claims["fam"] != staff_family(user, factor) or lacks_factor(factor):
        raise Unauthenticated
    return user


def staff_family(user: Any, factor: str = "") -> str:
    """Return what ties a staff token to the password and the second factor it was got with."""
    return f"{user.get_session_auth_hash()[:16]}:{factor}"


def lacks_factor(factor: str) -> bool:
    """Tell whether a second factor is needed and `factor` is none."""
    return settings.STAFF_MFA_REQUIRED and not factor
