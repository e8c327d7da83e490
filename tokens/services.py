"""Codes and the tokens they are traded for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from config.contract import history
from config.contract.errors import Unauthenticated
from config.contract.ids import new_id
from tokens import jwt, secrets
from tokens.models import ActivationCode, AuditEntry, OrgAccess, RefreshToken, TokenFamily

logger = structlog.get_logger("metergate.tokens")


class CodeInvalid(Unauthenticated):
    """The code is wrong, used, expired or for another domain: they look the same."""

    def __init__(self) -> None:
        super().__init__("The activation code is not valid", code="CODE_INVALID")


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """What a client holds after an activation or a refresh."""

    access_token: str
    refresh_token: str
    family: TokenFamily


def issue_code(
    *,
    org_id: str,
    code: str,
    scopes: Sequence[str],
    issued_by: str,
    now: datetime,
    domain: str = "",
) -> ActivationCode:
    """Store a one-time code (its hash) that lives `ACTIVATION_CODE_LIFE` from `now` (real time)."""
    with history.because("code issued", who=issued_by):
        issued = ActivationCode.objects.create(
            code_hash=secrets.hashed(code),
            org_id=org_id,
            domain=domain,
            scopes=sorted(scopes),
            issued_by=issued_by,
            created_at=now,
            expires_at=now + settings.ACTIVATION_CODE_LIFE,
        )
    audit(org_id=org_id, what="code_issued", who=issued_by, now=now, domain=domain)
    return issued


def restart_code(*, code: str, now: datetime) -> bool:
    """Let the life of an unused code begin again, as it leaves for its owner; tells whether it may.

    `now` is real time. A used or revoked code stays what it is.
    """
    waiting = ActivationCode.objects.filter(
        code_hash=secrets.hashed(code), used_at=None, revoked_at=None
    )
    with history.because("code sent to its owner"):
        return waiting.update(expires_at=now + settings.ACTIVATION_CODE_LIFE) == 1


def activate(*, code: str, domain: str | None, now: datetime) -> IssuedTokens:
    """Trade a code for the first tokens of a new family. `now` is real time.

    Raises CodeInvalid for a wrong, used, expired or revoked code and for another
    domain than the code's; a wrong domain does not use the code up. A used code that is
    shown again is a security event: one of the two who had it was not meant to.
    """
    try:
        return _activate(code, domain=domain, now=now)
    except CodeInvalid:
        # After the transaction, which left nothing: what is written here stays.
        _tell_if_used(code, now=now)
        raise


def _activate(code: str, *, domain: str | None, now: datetime) -> IssuedTokens:
    with transaction.atomic(), history.because("activated"):
        found = (
            ActivationCode.objects.select_for_update()
            .filter(code_hash=secrets.hashed(code), used_at=None, revoked_at=None)
            .filter(expires_at__gt=now)
            .first()
        )
        if found is None or (found.domain and found.domain != domain):
            raise CodeInvalid
        if OrgAccess.objects.filter(org_id=found.org_id, suspended_at__isnull=False).exists():
            raise CodeInvalid
        family = TokenFamily.objects.create(
            id=new_id("fam"),
            org_id=found.org_id,
            domain=found.domain,
            scopes=found.scopes,
            created_at=now,
            expires_at=now + settings.REFRESH_TOKEN_LIFE,
        )
        found.used_at, found.family = now, family
        found.save(update_fields=["used_at", "family"])
        refresh_token = secrets.new_refresh_token()
        RefreshToken.objects.create(
            family=family,
            token_hash=secrets.hashed(refresh_token),
            issued_at=now,
            expires_at=now + settings.REFRESH_TOKEN_LIFE,
        )
        audit(
            org_id=family.org_id,
            what="activated",
            who=family.id,
            now=now,
            family_id=family.id,
            domain=family.domain,
        )
    return IssuedTokens(access_token_of(family, now=now), refresh_token, family)


def _tell_if_used(code: str, *, now: datetime) -> None:
    used = ActivationCode.objects.filter(
        code_hash=secrets.hashed(code), used_at__isnull=False
    ).first()
    if used is None:
        return
    family_id = str(used.family_id)
    logger.warning("activation_code_reused", family=family_id, tenant_id=used.org_id)
    audit(
        org_id=used.org_id,
        what="code_reuse_detected",
        who="unknown",
        now=now,
        family_id=family_id,
        domain=used.domain,
    )


def access_token_of(family: TokenFamily, *, now: datetime) -> str:
    """Return an access token of a family."""
    return jwt.mint(
        subject=f"installation:{family.id}",
        org=family.org_id,
        scopes=list(family.scopes),
        domain=family.domain,
        family_id=family.id,
        audience=settings.TOKEN_AUDIENCE,
        now=now,
    )


def audit(
    *, org_id: str, what: str, who: str, now: datetime, family_id: str = "", **detail: Any
) -> None:
    """Write one line of the tokens' audit trail, under the ids of the current request."""
    ids = structlog.contextvars.get_contextvars()
    AuditEntry.objects.create(
        at=now,
        org_id=org_id,
        what=what,
        who=who,
        family_id=family_id,
        detail={name: value for name, value in detail.items() if value},
        request_id=ids.get("request_id") or "",
        correlation_id=ids.get("correlation_id") or "",
    )
