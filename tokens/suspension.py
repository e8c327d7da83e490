"""Suspending an organisation, and letting it back in."""

from datetime import datetime

from django.db import transaction

from config.contract import history
from config.contract.errors import NotFound
from tokens import access
from tokens.models import AuditEntry, OrgAccess
from tokens.services import audit


def suspend(*, org_id: str, reason: str, who: str, now: datetime) -> None:
    """Refuse every token of the organisation from the next request on. Raises NotFound."""
    _set(org_id, at=now, reason=reason, what="suspended", who=who, now=now)


def restore(*, org_id: str, reason: str, who: str, now: datetime) -> None:
    """Take a suspension back. Raises NotFound."""
    _set(org_id, at=None, reason=reason, what="restored", who=who, now=now)


def suspended_at(*, org_id: str, at: datetime) -> tuple[datetime, str, str] | None:
    """Return since when, why and by whom an organisation was suspended at `at` (real time).

    None where it was not. The audit trail says it, also of suspensions long taken back.
    """
    newest = (
        AuditEntry.objects.filter(org_id=org_id, what__in=("suspended", "restored"), at__lte=at)
        .order_by("-at", "-pk")
        .first()
    )
    if newest is None or newest.what == "restored":
        return None
    return newest.at, str(newest.detail.get("reason") or ""), newest.who


def _set(
    org_id: str, *, at: datetime | None, reason: str, what: str, who: str, now: datetime
) -> None:
    with transaction.atomic(), history.because(f"{what}: {reason}", who=who):
        organisations = OrgAccess.objects.organisations()
        row = organisations.select_for_update().filter(org_id=org_id).first()
        if row is None:
            raise NotFound
        if (row.suspended_at is None) == (at is None):
            return
        row.suspended_at = at
        row.suspended_reason = reason if at else ""
        row.save(update_fields=["suspended_at", "suspended_reason"])
        audit(org_id=org_id, what=what, who=who, now=now, reason=reason)
        access.bump(org_id)
