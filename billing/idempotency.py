"""Idempotency-Key: the first answer is the answer (api.md section 1).

Keys are scoped by tenant and route, in our own table and in the effect's own
transaction: one organisation can never be served another's answer, and an
answer is remembered exactly if its effect is.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.http import HttpRequest

from billing import operations
from billing.models import IdempotencyKey, Operation
from config.contract.errors import ApiError, ValidationFailed

HEADER = "HTTP_IDEMPOTENCY_KEY"
KEPT = timedelta(hours=24)
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


class IdempotencyConflict(ApiError):
    """The key was used with another body."""

    def __init__(self) -> None:
        super().__init__(
            "IDEMPOTENCY_CONFLICT", "The Idempotency-Key was used with another body", 409
        )


class IdempotencyInProgress(ApiError):
    """The first request with this key is still being worked on."""

    def __init__(self) -> None:
        super().__init__(
            "IDEMPOTENCY_IN_PROGRESS",
            "A request with this Idempotency-Key is being worked on",
            409,
            headers={"Retry-After": "1"},
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """What a request with (or without) a key is to do."""

    operation: Operation
    key: IdempotencyKey | None
    replay: IdempotencyKey | None = None


def key_of(request: HttpRequest) -> str | None:
    """Return the request's Idempotency-Key, if it has one. Raises ValidationFailed."""
    given: str | None = request.META.get(HEADER)
    if given is None:
        return None
    if not _PRINTABLE.fullmatch(given):
        raise ValidationFailed({"Idempotency-Key": ["1 to 255 printable ASCII characters"]})
    return given


def begin(
    *,
    scope: str,
    key: str | None,
    body: Any,
    start: Callable[[], Operation],
    now: datetime,
) -> Begun:
    """Start an operation, or find the one that this key started.

    Commits. `now` is real time. Raises IdempotencyConflict, or
    IdempotencyInProgress while the first request's lease lasts.
    """
    with transaction.atomic():
        if key is None:
            return Begun(start(), None)
        held, made = _claim(scope, key, _hash(msgspec.json.encode(body)), now)
        if made:
            held.operation = start()
            held.save(update_fields=["operation"])
            return Begun(held.operation, held)
        operation = held.operation
        assert operation is not None  # noqa: S101 - written in the transaction that claimed it
        if held.status is not None:
            return Begun(operation, held, replay=held)
        if held.lease_until > now:
            raise IdempotencyInProgress
        held.lease_until = now + operations.LEASE
        held.save(update_fields=["lease_until"])
        operation.lease_until = held.lease_until
        operation.attempts += 1
        operation.save(update_fields=["lease_until", "attempts"])
        return Begun(operation, held)


def keep(key: IdempotencyKey | None, *, status: int, response: Any) -> None:
    """Remember the answer, in the transaction of its effect. It holds no secret."""
    if key is not None:
        key.status, key.response = status, response
        key.save(update_fields=["status", "response"])


def let_go(begun: Begun, *, error: str, now: datetime) -> None:
    """The request failed undecided (5xx): the next one with the key may go on at once."""
    operations.release(begun.operation, error=error, now=now)
    if begun.key is not None:
        IdempotencyKey.objects.filter(pk=begun.key.pk, status=None).update(lease_until=now)


def _claim(scope: str, key: str, body_hash: bytes, now: datetime) -> tuple[IdempotencyKey, bool]:
    key_hash = _hash(key.encode())
    row = IdempotencyKey(
        scope=scope,
        key_hash=key_hash,
        body_hash=body_hash,
        lease_until=now + operations.LEASE,
        created_at=now,
    )
    IdempotencyKey.objects.filter(
        scope=scope, key_hash=key_hash, created_at__lt=now - KEPT, status__isnull=False
    ).delete()
    IdempotencyKey.objects.bulk_create([row], ignore_conflicts=True)
    held = IdempotencyKey.objects.select_for_update().get(scope=scope, key_hash=key_hash)
    if bytes(held.body_hash) != body_hash:
        raise IdempotencyConflict
    return held, held.operation_id is None


def _hash(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
