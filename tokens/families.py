"""Refreshing and revoking: the life of an installation after its activation.

Each refresh token is used once. A client that lost the answer may ask again for
ten seconds and gets the very same successor; anything older was copied, and
the whole family ends.
"""

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from config.contract import history
from config.contract.errors import Forbidden, Unauthenticated
from tokens import access, secrets
from tokens.models import ActivationCode, OrgAccess, RefreshToken, TokenFamily
from tokens.services import IssuedTokens, access_token_of, audit

logger = structlog.get_logger("metergate.tokens")
#: How long the immediate predecessor may be shown again, its successor still unused.
GRACE = timedelta(seconds=10)


class RefreshInvalid(Unauthenticated):
    """The refresh token is wrong, over, used before, or of a revoked family."""

    def __init__(self) -> None:
        super().__init__("The refresh token is not valid", code="REFRESH_INVALID")


def refresh(*, token: str, domain: str | None, now: datetime) -> IssuedTokens:
    """Trade a refresh token for its successor and a new access token. `now` is real time.

    Raises RefreshInvalid (reuse outside the grace revokes the family), and
    Forbidden from another domain than the family's (nothing is used up) or for a
    suspended organisation.
    """
    with transaction.atomic():
        family = _locked_family_of(token)
        issued = _rotate(family, token, domain=domain, now=now) if family else None
    if issued is None:
        # Raised outside: a reuse has revoked the family, and that must stay.
        raise RefreshInvalid
    return issued


def revoke_by_token(*, token: str, now: datetime) -> None:
    """End the family a refresh token belongs to; unknown ones are none of the caller's business."""
    with transaction.atomic():
        family = _locked_family_of(token)
        if family is not None:
            _revoke(family, reason="revoked", who=family.id, now=now)


def revoke_family(*, org_id: str, family_id: str, who: str, now: datetime) -> bool:
    """End one family of an organisation; False where it has none of that id."""
    with transaction.atomic():
        family = TokenFamily.objects.select_for_update().filter(org_id=org_id, id=family_id).first()
        if family is None:
            return False
        _revoke(family, reason="revoked", who=who, now=now)
    return True


def revoke_all(*, org_id: str, who: str, now: datetime) -> int:
    """End every family of an organisation, and its codes nobody used yet.

    Returns how many of both were alive.
    """
    with transaction.atomic():
        # Codes first: one that is being activated right now holds its row until
        # its family can be seen by the statement after this.
        with history.because("revoked", who=who):
            codes = waiting_codes(org_id, now=now).update(revoked_at=now)
        alive = list(live_families(org_id, now=now).select_for_update().order_by("id"))
        for family in alive:
            _end(family, reason="revoked", who=who, now=now)
        if codes:
            audit(org_id=org_id, what="codes_revoked", who=who, now=now, codes=codes)
        access.bump(org_id)
    return len(alive) + codes


def live_families(org_id: str, *, now: datetime) -> QuerySet[TokenFamily]:
    """Return the families that can still refresh."""
    return TokenFamily.objects.filter(org_id=org_id, revoked_at=None, expires_at__gt=now)


def waiting_codes(org_id: str, *, now: datetime) -> QuerySet[ActivationCode]:
    """Return the codes that can still become families."""
    return ActivationCode.objects.filter(
        org_id=org_id, used_at=None, revoked_at=None, expires_at__gt=now
    )


def _locked_family_of(token: str) -> TokenFamily | None:
    link = RefreshToken.objects.filter(token_hash=secrets.hashed(token)).first()
    if link is None:
        return None
    return TokenFamily.objects.select_for_update().filter(pk=link.family_id).first()


def _rotate(
    family: TokenFamily, token: str, *, domain: str | None, now: datetime
) -> IssuedTokens | None:
    # Read under the family's lock: of parallel callers the first one rotates.
    link = RefreshToken.objects.filter(token_hash=secrets.hashed(token)).first()
    if link is None or family.revoked_at is not None or now >= family.expires_at:
        return None
    if link.used_at is not None and not _may_be_shown_again(link, now=now):
        # Before all else: whoever shows a copied token, from wherever, has it.
        logger.warning("refresh_token_reused", family=family.id, tenant_id=family.org_id)
        _revoke(family, reason="reuse", who=family.id, now=now)
        return None
    if now >= link.expires_at:
        return None
    if family.domain and family.domain != domain:
        raise Forbidden("The token is bound to another domain", code="DOMAIN_MISMATCH")
    if OrgAccess.objects.filter(org_id=family.org_id, suspended_at__isnull=False).exists():
        raise Forbidden("The organisation is suspended", code="ORG_SUSPENDED")
    successor = secrets.successor_of(family.id, token)
    if link.used_at is None:
        _issue_successor(family, link, successor, now=now)
    else:
        _audit(family, "refresh_repeated", now=now)
    return IssuedTokens(access_token_of(family, now=now), successor, family)


def _issue_successor(
    family: TokenFamily, link: RefreshToken, successor: str, *, now: datetime
) -> None:
    link.used_at = now
    link.save(update_fields=["used_at"])
    ends = now + settings.REFRESH_TOKEN_LIFE
    RefreshToken.objects.create(
        family=family,
        token_hash=secrets.hashed(successor),
        predecessor=link,
        issued_at=now,
        expires_at=ends,
    )
    family.last_refreshed_at, family.expires_at = now, ends
    family.save(update_fields=["last_refreshed_at", "expires_at"])
    _audit(family, "refreshed", now=now)


def _may_be_shown_again(link: RefreshToken, *, now: datetime) -> bool:
    successor = RefreshToken.objects.filter(predecessor=link).first()
    recent = link.used_at is not None and now - link.used_at <= GRACE
    return recent and successor is not None and successor.used_at is None


def _revoke(family: TokenFamily, *, reason: str, who: str, now: datetime) -> None:
    if family.revoked_at is None:
        _end(family, reason=reason, who=who, now=now)
        access.bump(family.org_id)


def _end(family: TokenFamily, *, reason: str, who: str, now: datetime) -> None:
    family.revoked_at, family.revoked_reason = now, reason
    with history.because(reason, who=who):
        family.save(update_fields=["revoked_at", "revoked_reason"])
    _audit(family, "reuse_detected" if reason == "reuse" else "revoked", now=now, who=who)


def _audit(family: TokenFamily, what: str, *, now: datetime, who: str = "") -> None:
    audit(org_id=family.org_id, what=what, who=who or family.id, now=now, family_id=family.id)
