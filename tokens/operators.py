"""Operator credentials: the company's own backend or gateway, which meters many organisations."""

from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from config.contract import history
from config.contract.errors import NotFound, Unauthenticated, ValidationFailed
from config.contract.ids import new_id
from tokens import access, jwt, scopes, secrets
from tokens.models import OPERATOR_KEY_PREFIX, OperatorKey, OrgAccess
from tokens.principals import ANY_ORG
from tokens.services import audit

logger = structlog.get_logger("metergate.tokens")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A credential in clear, shown once."""

    key_id: str
    secret: str


def create(*, name: str, wanted: list[str], who: str, now: datetime) -> NewSecret:
    """Make a credential. Raises ValidationFailed for a scope no operator can have."""
    if not wanted or not scopes.OPERATOR.issuperset(wanted):
        raise ValidationFailed({"scopes": ["Not one of the scopes an operator can have"]})
    made = NewSecret(new_id(OPERATOR_KEY_PREFIX), secrets.new_operator_secret())
    with transaction.atomic(), history.because("operator key made", who=who):
        OperatorKey.objects.create(
            key_id=made.key_id,
            name=name,
            scopes=sorted(wanted),
            secret_hash=secrets.hashed(made.secret),
            created_at=now,
        )
        # Its row of access: revocation rides in the copy like a suspension does.
        OrgAccess.objects.create(org_id=made.key_id, created_at=now)
        audit(org_id=made.key_id, what="operator_key_made", who=who, now=now, name=name)
    return made


def rotate(*, key_id: str, who: str, now: datetime) -> NewSecret:
    """Make a second secret; the one before goes on working until the next rotation.

    Raises NotFound, also for a revoked credential: its new secret would be of no use.
    """
    with transaction.atomic(), history.because("operator key rotated", who=who):
        row = _locked(key_id)
        if row.revoked_at is not None:
            raise NotFound
        made = NewSecret(key_id, secrets.new_operator_secret())
        row.previous_secret_hash, row.secret_hash = row.secret_hash, secrets.hashed(made.secret)
        row.rotated_at = now
        row.save(update_fields=["previous_secret_hash", "secret_hash", "rotated_at"])
        audit(org_id=key_id, what="operator_key_rotated", who=who, now=now)
    return made


def drop_previous(*, key_id: str, who: str, now: datetime) -> None:
    """End the secret from before the last rotation. Raises NotFound."""
    with transaction.atomic():
        row = _locked(key_id)
        row.previous_secret_hash = None
        row.save(update_fields=["previous_secret_hash"])
        audit(org_id=key_id, what="operator_secret_dropped", who=who, now=now)


def revoke(*, key_id: str, who: str, now: datetime) -> None:
    """End a credential and, at their next request, the tokens got with it. Raises NotFound."""
    with transaction.atomic(), history.because("operator key revoked", who=who):
        row = _locked(key_id)
        row.revoked_at = row.revoked_at or now
        row.save(update_fields=["revoked_at"])
        OrgAccess.objects.filter(org_id=key_id).update(suspended_at=now)
        audit(org_id=key_id, what="operator_key_revoked", who=who, now=now)
        access.bump(key_id)


def operator_token(*, key_id: str, secret: str, now: datetime) -> tuple[str, list[str]]:
    """Trade a credential for an access token that acts for the organisation each request names.

    Returns it with its scopes. `now` is real time. Raises Unauthenticated.
    """
    row = OperatorKey.objects.filter(key_id=key_id, revoked_at=None).first()
    if row is None:
        raise _invalid()
    digest = secrets.hashed(secret)
    alive = (row.secret_hash, row.previous_secret_hash)
    if not any(one is not None and compare_digest(bytes(one), digest) for one in alive):
        logger.warning("operator_secret_refused", key_id=row.key_id)
        raise _invalid()
    with transaction.atomic():
        OperatorKey.objects.filter(pk=row.pk).update(last_used_at=now, uses=F("uses") + 1)
        audit(org_id=row.key_id, what="operator_token_issued", who=row.key_id, now=now)
    token = jwt.mint(
        subject=f"operator:{row.key_id}",
        org=ANY_ORG,
        scopes=list(row.scopes),
        domain="",
        family_id=row.key_id,
        audience=settings.TOKEN_AUDIENCE,
        now=now,
    )
    return token, list(row.scopes)


def _invalid() -> Unauthenticated:
    return Unauthenticated("The operator credential is not valid")


def _locked(key_id: str) -> OperatorKey:
    row = OperatorKey.objects.select_for_update().filter(key_id=key_id).first()
    if row is None:
        raise NotFound
    return row
