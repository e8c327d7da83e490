"""Whether a token that verifies may still be used: suspension and revocation.

The answer rides in the organisation's copy, so the hot routes pay no query for
it; where the copy does not know, the database does.
"""

import time
from datetime import timedelta

import msgspec
import psycopg
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from config.contract import clock
from config.contract.clients import clients
from config.contract.copy_publisher import Field
from config.contract.errors import Forbidden, Unauthenticated, Unavailable
from config.contract.hotpool import fetch
from tokens.models import OrgAccess

logger = structlog.get_logger("metergate.tokens")

FIELD = "auth"
#: An access token may outlive its family's revocation by its own life, plus clock skew.
_REMEMBER = timedelta(minutes=1)

_SUMMARY = """
SELECT a.generation, a.suspended_at IS NOT NULL, i.copy_epoch,
       ARRAY(SELECT f.id FROM tokens_tokenfamily f
              WHERE f.org_id = a.org_id AND f.revoked_at > %(since)s)
  FROM tokens_orgaccess a, contract_installation i
 WHERE a.org_id = %(org_id)s
"""


class AuthSummary(msgspec.Struct, frozen=True, array_like=True):
    """What a request must know of an organisation before it is let in."""

    epoch: int
    generation: int
    suspended: bool
    revoked: list[str]

    def admit(self, family_id: str | None) -> None:
        """Let a caller in. Raises Unauthenticated (revoked) or Forbidden (suspended)."""
        if family_id is not None and family_id in self.revoked:
            raise Unauthenticated("The token was revoked")
        if self.suspended:
            raise Forbidden("The organisation is suspended", code="ORG_SUSPENDED")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AuthSummary).decode


def summary(org_id: str, held: dict[str, bytes] | None) -> AuthSummary | None:
    """Return the summary from the copy `held`, or from the database where it is missing.

    None for an organisation that does not exist.
    """
    found = held.get(FIELD) if held else None
    if found is not None:
        try:
            return _decode(found)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Written by another release: as good as missing.
            logger.warning("copy_of_another_form", field=FIELD)
    read_at = time.monotonic()
    fresh = _read(org_id)
    if fresh is not None:
        clients.copy.fill(org_id, [_field(fresh)], read_at=read_at, had_copy=held is not None)
    return fresh


def exists(org_id: str) -> bool:
    """Tell whether an organisation was ever let in here."""
    return OrgAccess.objects.organisations().filter(org_id=org_id).exists()


def open_access(org_id: str, *, installation_limit: int) -> None:
    """Let an organisation in, or raise or lower how many installations it may have."""
    told = OrgAccess.objects.filter(org_id=org_id).values_list("installation_limit", flat=True)
    if told.first() == installation_limit:
        return  # as every word of Stripe's that changes nothing of it ends
    OrgAccess.objects.update_or_create(
        org_id=org_id,
        defaults={"installation_limit": installation_limit},
        create_defaults={
            "installation_limit": installation_limit,
            "created_at": clock.real_now(),
        },
    )


def bump(org_id: str) -> None:
    """Make every token of the organisation feel what this transaction changed."""
    OrgAccess.objects.filter(org_id=org_id).update(generation=F("generation") + 1)
    transaction.on_commit(lambda: publish(org_id))


def publish(org_id: str) -> None:
    """Publish the committed summary; never raises, since what it tells of is done."""
    try:
        fresh = _read(org_id)
    except (Unavailable, psycopg.Error):
        # A copy that may be wrong is worse than none.
        clients.copy.forget(org_id)
        return
    if fresh is not None:
        clients.copy.publish(org_id, [_field(fresh)])


def _read(org_id: str) -> AuthSummary | None:
    since = clock.real_now() - settings.ACCESS_TOKEN_LIFE - _REMEMBER
    rows = fetch(_SUMMARY, {"org_id": org_id, "since": since})
    if not rows:
        return None
    [(generation, suspended, epoch, revoked)] = rows
    return AuthSummary(epoch=epoch, generation=generation, suspended=suspended, revoked=revoked)


def _field(fresh: AuthSummary) -> Field:
    return Field(FIELD, fresh.epoch, 0, fresh.generation, _encode(fresh))
