"""Dropping what events said, after a while. That they came is kept for ever.

The application's role may not write a body: it drops bodies by a function of the
database that drops those of settled events and does nothing else. Blanking bodies that
were stored before they were blanked at the door is for the owner's role.
"""

from datetime import datetime
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from webhooks.blanking import blanked
from webhooks.models import WebhookEvent

_AT_ONCE = 1000
#: A body that was dropped meanwhile stays dropped.
_BLANK = "UPDATE webhooks_webhookevent SET payload = %s WHERE id = %s AND payload IS NOT NULL"
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
        forgotten += _forget(pks)
    return forgotten


def _forget(pks: list[int]) -> int:
    with connection.cursor() as cursor:
        # It looks at the state again: one that is being replayed keeps what it says.
        cursor.execute("SELECT webhooks_forget_payloads(%s::bigint[])", [pks])
        row: tuple[int] = cursor.fetchone()
    return row[0]


def blank_payloads() -> int:
    """Blank what opens a door in bodies that are stored; returns how many rows changed.

    As the owner's role, in short statements, a page of rows at a time: safe beside
    everything that runs, and to be run again.
    """
    last = changed = 0
    with connection.cursor() as cursor:
        while True:
            page = WebhookEvent.objects.filter(pk__gt=last, payload__isnull=False)
            rows = list(page.order_by("pk").values_list("pk", "payload")[:_AT_ONCE])
            if not rows:
                return changed
            last = rows[-1][0]
            blank: list[tuple[Any, int]] = [
                (Jsonb(new), pk) for pk, old in rows if (new := blanked(old)) != old
            ]
            cursor.executemany(_BLANK, blank)
            changed += len(blank)
