"""What a caller's scopes and an organisation's id let it do."""

from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from config.contract.errors import Forbidden, ValidationFailed
from tokens.authentication import admitted
from tokens.principals import Principal, StaffPrincipal
from tokens.throttles import count_hot


def needs_scope(*any_of: str) -> type[BasePermission]:
    """Return a permission class that asks for one of the scopes. Raises Forbidden."""

    class NeedsScope(BasePermission):
        scopes = frozenset(any_of)

        def has_permission(self, request: Request, view: Any) -> bool:
            require_scope(caller_of(request), *self.scopes)
            return True

    return NeedsScope


def needs_scope_or_staff(scope: str, permission: str) -> type[BasePermission]:
    """Return a permission class for routes of both operators and staff. Raises Forbidden."""

    class NeedsScopeOrStaff(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            if isinstance(request.user, StaffPrincipal):
                if not request.user.user.has_perm(permission):
                    raise Forbidden
                return True
            require_scope(caller_of(request), scope)
            return True

    return NeedsScopeOrStaff


def acts_for(request: Request, org_id: str) -> str:
    """Return `org_id` where the caller may act for it; staff may for every organisation."""
    if isinstance(request.user, StaffPrincipal):
        return org_id
    return acting_for(request._request, caller_of(request), org_id).org_id


def require_scope(principal: Principal, *any_of: str) -> None:
    """Raise Forbidden unless the caller holds one of the scopes."""
    if principal.scopes.isdisjoint(any_of):
        raise Forbidden(
            "The token lacks the scope for this", code="SCOPE_MISSING", anyOf=sorted(any_of)
        )


def needs_staff_permission(permission: str) -> type[BasePermission]:
    """Return a permission class for staff routes. Raises Forbidden."""

    class NeedsStaffPermission(BasePermission):
        def has_permission(self, request: Request, view: Any) -> bool:
            if not isinstance(request.user, StaffPrincipal):
                raise Forbidden
            if not request.user.user.has_perm(permission):
                raise Forbidden
            return True

    return NeedsStaffPermission


def caller_of(request: Request) -> Principal:
    """Return who calls a route that takes organisations' and operators' tokens."""
    return cast(Principal, request.user)


def acting_for(request: HttpRequest, principal: Principal, org_id: str | None) -> Principal:
    """Return the caller, allowed to act for the organisation the request names.

    An organisation's token acts for its own: another id, in the body or the
    tenant header, is TENANT_MISMATCH, whether it exists or not. An operator acts
    for the named one (`org_id`, else the tenant header), which must exist and not
    be suspended; the returned principal carries its id and its copy. Raises
    Throttled where that organisation is called for too often on a hot route.
    """
    header = request.headers.get(settings.TENANT_HEADER)
    if not principal.is_operator:
        if not {org_id, header} <= {None, principal.org_id}:
            raise Forbidden("The token is not for this organisation", code="TENANT_MISMATCH")
        return principal
    if org_id is not None and header is not None and header != org_id:
        raise Forbidden("The header names another organisation", code="TENANT_MISMATCH")
    named = org_id or header
    if not named:
        raise ValidationFailed({"orgId": ["Name the organisation to act for"]})
    acting = admitted(request, principal, org_id=named)
    if request.resolver_match is not None and request.resolver_match.route in settings.HOT_ROUTES:
        count_hot(acting.org_id)
    return acting
