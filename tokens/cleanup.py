"""Forgetting what can never be used again. The audit trail is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from tokens.models import ActivationCode, PortalLink, RefreshToken, StaffLogIn, TokenFamily

#: What is over is kept so long: support can still say what became of it, and a
#: token copied out of an old installation is still known as used.
KEPT = timedelta(days=30)
_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many rows were, or would be, deleted."""

    codes: int
    refresh_tokens: int
    families: int
    portal_links: int
    staff_log_ins: int = 0


def forget(*, now: datetime, batch: int = _BATCH) -> Forgotten:
    """Delete what was over `KEPT` before `now` (real time): codes, tokens, families, links.

    And the log-ins of staff that are older than STAFF_LOG_IN_DAYS.

    Each batch is a transaction of its own: to stop half-way is harmless, and so
    is a second clean-up at the same time.
    """
    before = now - KEPT
    links = _in_batches(_expired_links(before), _delete_links, batch)
    links += _in_batches(_links_of_revoked(before), _delete_links, batch)
    # A used code goes with its family, so that an installation's page can say who let it in.
    used = _in_batches(
        ActivationCode.objects.filter(family__in=_ended_families(before)), _delete, batch
    )
    families = _in_batches(_ended_families(before).filter(links=None), _delete, batch)
    unused = _in_batches(_expired_codes(before), _delete, batch)
    visits = _in_batches(_ended_visits(before), _delete, batch)
    return Forgotten(
        codes=used + unused,
        refresh_tokens=links,
        families=families,
        portal_links=visits,
        staff_log_ins=_forget_log_ins(now - settings.STAFF_LOG_IN_AGE, batch),
    )


def forgettable(*, now: datetime) -> Forgotten:
    """Return what `forget` would delete."""
    before = now - KEPT
    ended = _ended_families(before)
    return Forgotten(
        codes=_expired_codes(before).count()
        + ActivationCode.objects.filter(family__in=ended).count(),
        refresh_tokens=RefreshToken.objects.filter(
            Q(expires_at__lt=before) | Q(family__revoked_at__lt=before)
        ).count(),
        families=ended.count(),
        portal_links=_ended_visits(before).count(),
        staff_log_ins=StaffLogIn.objects.filter(at__lt=now - settings.STAFF_LOG_IN_AGE).count(),
    )


def _expired_codes(before: datetime) -> QuerySet[ActivationCode]:
    return ActivationCode.objects.filter(expires_at__lt=before, used_at=None)


def _ended_families(before: datetime) -> QuerySet[TokenFamily]:
    return TokenFamily.objects.filter(Q(expires_at__lt=before) | Q(revoked_at__lt=before))


def _ended_visits(before: datetime) -> QuerySet[PortalLink]:
    # A link that was used on its last day is over with its visit, half an hour later.
    return PortalLink.objects.filter(expires_at__lt=before - settings.PORTAL_VISIT_LIFE)


def _expired_links(before: datetime) -> QuerySet[RefreshToken]:
    # Also of families that go on: an installation that refreshes every ten
    # minutes leaves fifty thousand links a year.
    return RefreshToken.objects.filter(expires_at__lt=before)


def _links_of_revoked(before: datetime) -> QuerySet[RefreshToken]:
    return RefreshToken.objects.filter(family__revoked_at__lt=before)


def _in_batches(doomed: QuerySet[Any], delete: Callable[[QuerySet[Any]], int], batch: int) -> int:
    deleted = 0
    while keys := list(doomed.order_by("pk").values_list("pk", flat=True)[:batch]):
        with transaction.atomic():
            deleted += delete(doomed.model._default_manager.filter(pk__in=keys))
    return deleted


def _forget_log_ins(before: datetime, batch: int) -> int:
    deleted = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT tokens_forget_staff_log_ins(%s, %s)", [before, batch])
            count: int = cursor.fetchone()[0]
        deleted += count
        if count < batch:
            return deleted


def _delete(rows: QuerySet[Any]) -> int:
    return rows.delete()[0]


def _delete_links(links: QuerySet[RefreshToken]) -> int:
    # A chain longer than a batch is taken from its old end: the link after the
    # cut no longer knows what was before it.
    RefreshToken.objects.filter(predecessor__in=links).update(predecessor=None)
    return _delete(links)
