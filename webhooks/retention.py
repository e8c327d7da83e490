"""Dropping what events said, after a while. That they came is kept for ever."""

from datetime import datetime

from webhooks.models import WebhookEvent

_AT_ONCE = 1000
_DONE = (WebhookEvent.State.PROCESSED, WebhookEvent.State.IGNORED)


def forget_payloads(*, received_before: datetime, most: int = 100_000) -> int:
    """Drop the payloads of settled events, in short statements; returns how many."""
    old = WebhookEvent.objects.filter(
        received_at__lt=received_before, payload__isnull=False, state__in=_DONE
    ).order_by("received_at")
    forgotten = 0
    while forgotten < most:
        pks = list(old.values_list("pk", flat=True)[:_AT_ONCE])
        if not pks:
            break
        # Asked for again: one that is being replayed keeps what it says.
        forgotten += WebhookEvent.objects.filter(pk__in=pks, state__in=_DONE).update(payload=None)
    return forgotten
