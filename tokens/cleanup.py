"""Forgetting what can never be used again."""

from datetime import datetime, timedelta

from tokens.models import ActivationCode

#: Expired codes are kept so long, that support can still say what became of one.
KEPT = timedelta(days=30)
_BATCH = 5000


def forget(*, now: datetime) -> int:
    """Delete unused codes that expired long ago, in batches; returns how many."""
    deleted = 0
    while True:
        keys = list(
            ActivationCode.objects.filter(
                expires_at__lt=now - KEPT, used_at__isnull=True
            ).values_list("pk", flat=True)[:_BATCH]
        )
        if not keys:
            return deleted
        deleted += ActivationCode.objects.filter(pk__in=keys).delete()[0]
