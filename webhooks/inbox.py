"""Putting events into the inbox: once each, whoever brings them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from webhooks.blanking import blanked
from webhooks.events import Arrival
from webhooks.handlers import HANDLERS
from webhooks.models import WebhookEvent

_INSERT = """
    INSERT INTO webhooks_webhookevent
        (event_id, type, object_id, org_id, api_version, payload, correlation_id, state, refused,
         attempts, due_at, error, created_at, received_at)
    VALUES (%s, %s, %s, '', %s, %s, %s, %s, %s, 0, %s, '', %s, %s)
    ON CONFLICT (event_id) DO NOTHING
    RETURNING id
"""


def put(arrival: Arrival, *, correlation_id: str, now: datetime, real_now: datetime) -> int | None:
    """Store an event; returns its row's id, None where it is there already.

    One statement, so that of parallel deliveries of one event exactly one is
    told that it was the first. What nothing handles is kept as ignored. What opens a
    door is blanked (webhooks.blanking): nothing is stored by another way.
    """
    waits = not arrival.refused and arrival.object_id and arrival.type in HANDLERS
    state = WebhookEvent.State.PENDING if waits else WebhookEvent.State.IGNORED
    values: list[Any] = [
        arrival.event_id,
        arrival.type,
        arrival.object_id,
        arrival.api_version,
        None if arrival.payload is None else Jsonb(blanked(arrival.payload)),
        correlation_id,
        state,
        arrival.refused,
        real_now,
        arrival.created_at,
        now,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return None if row is None else int(row[0])


def unknown(event_ids: Iterable[str]) -> list[str]:
    """Return those of the ids that the inbox does not have, in the order given."""
    wanted = list(event_ids)
    known = set(WebhookEvent.objects.filter(event_id__in=wanted).values_list("event_id", flat=True))
    return [one for one in wanted if one not in known]
