"""Activation codes on request: by the owner, by staff, by command."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Value

from config.contract.errors import ApiError, Forbidden, NotFound, ValidationFailed
from tokens import domains, scopes, secrets
from tokens.families import live_families, waiting_codes
from tokens.models import OrgAccess
from tokens.services import issue_code


class InstallationLimit(ApiError):
    """The plan has no room for another installation."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            "INSTALLATION_LIMIT",
            "The plan allows no further installation",
            409,
            {"limit": limit},
        )


@dataclass(frozen=True, slots=True)
class NewCode:
    """A code in clear, shown once."""

    code: str
    expires_at: datetime


def create_code(
    *,
    org_id: str,
    issued_by: str,
    now: datetime,
    domain: str | None = None,
    wanted: Sequence[str] | None = None,
    held: frozenset[str] = scopes.ORGANISATION,
) -> NewCode:
    """Issue a code; `wanted` scopes may be no wider than `held`. `now` is real time.

    Live families and unused codes together count against the organisation's
    limit, under its lock. Raises ValidationFailed (unknown scope, no host name),
    Forbidden (wider than held), InstallationLimit, NotFound.
    """
    asked = frozenset(wanted if wanted is not None else scopes.INSTALLATION)
    if not asked or not asked <= scopes.ORGANISATION:
        raise ValidationFailed({"scopes": ["Not one of the scopes a code can carry"]})
    if not asked <= held:
        raise Forbidden("A code carries no more than its maker has", code="SCOPE_MISSING")
    host = ""
    if domain is not None:
        host = domains.normalised(domain) or ""
        if not host:
            raise ValidationFailed({"domain": ["Expected a host name"]})
    with transaction.atomic():
        organisations = OrgAccess.objects.organisations()
        row = organisations.select_for_update().filter(org_id=org_id).first()
        if row is None:
            raise NotFound
        if _installations(org_id, now=now) >= row.installation_limit:
            raise InstallationLimit(row.installation_limit)
        code = secrets.new_code()
        issued = issue_code(
            org_id=org_id,
            code=code,
            scopes=sorted(asked),
            issued_by=issued_by,
            now=now,
            domain=host,
        )
    return NewCode(code, issued.expires_at)


def _installations(org_id: str, *, now: datetime) -> int:
    waiting = waiting_codes(org_id, now=now)
    # One statement: between two, a code may turn into a family and be counted by neither.
    each = (
        found.annotate(one=Value(1)).values("one")
        for found in (live_families(org_id, now=now), waiting)
    )
    families, codes = each
    return families.union(codes, all=True).count()
