"""Activation codes on request: by the owner, by staff, by command."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Value

from config.contract import history
from config.contract.errors import ApiError, Forbidden, NotFound, ValidationFailed
from tokens import domains, scopes, secrets
from tokens.families import live_families, waiting_codes
from tokens.models import OrgAccess
from tokens.services import audit, issue_code


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
    asked, host = _asked(domain, wanted, held)
    with transaction.atomic():
        organisations = OrgAccess.objects.organisations()
        _room(organisations.select_for_update().filter(org_id=org_id).first(), now=now)
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


@dataclass(frozen=True, slots=True)
class WouldIssue:
    """A code that could be made: what it would carry, and how full the plan is."""

    domain: str
    scopes: list[str]
    installations: int
    limit: int


def preview_code(
    *,
    org_id: str,
    now: datetime,
    domain: str | None = None,
    wanted: Sequence[str] | None = None,
) -> WouldIssue:
    """Tell what `create_code` would make for staff; writes nothing. Raises what it would raise."""
    asked, host = _asked(domain, wanted, scopes.ORGANISATION)
    row = OrgAccess.objects.organisations().filter(org_id=org_id).first()
    count, limit = _room(row, now=now)
    return WouldIssue(host, sorted(asked), count, limit)


def revoke_code(*, org_id: str, code_id: int, who: str, now: datetime) -> bool:
    """End a code that nobody used yet; False where it is none of these (any more)."""
    with transaction.atomic(), history.because("code revoked", who=who):
        code = waiting_codes(org_id, now=now).select_for_update().filter(pk=code_id).first()
        if code is None:
            return False
        code.revoked_at = now
        code.save(update_fields=["revoked_at"])
        audit(org_id=org_id, what="code_revoked", who=who, now=now, domain=code.domain)
    return True


def _asked(
    domain: str | None, wanted: Sequence[str] | None, held: frozenset[str]
) -> tuple[frozenset[str], str]:
    asked = frozenset(wanted if wanted is not None else scopes.INSTALLATION)
    if not asked or not asked <= scopes.ORGANISATION:
        raise ValidationFailed({"scopes": ["Not one of the scopes a code can carry"]})
    if not asked <= held:
        raise Forbidden("A code carries no more than its maker has", code="SCOPE_MISSING")
    if domain is None:
        return asked, ""
    host = domains.normalised(domain) or ""
    if not host:
        raise ValidationFailed({"domain": ["Expected a host name"]})
    return asked, host


def _room(row: OrgAccess | None, *, now: datetime) -> tuple[int, int]:
    """Return how many installations there are and may be. Raises where there is no room."""
    if row is None:
        raise NotFound
    count = _installations(row.org_id, now=now)
    if count >= row.installation_limit:
        raise InstallationLimit(row.installation_limit)
    return count, row.installation_limit


def _installations(org_id: str, *, now: datetime) -> int:
    waiting = waiting_codes(org_id, now=now)
    # One statement: between two, a code may turn into a family and be counted by neither.
    each = (
        found.annotate(one=Value(1)).values("one")
        for found in (live_families(org_id, now=now), waiting)
    )
    families, codes = each
    return families.union(codes, all=True).count()
