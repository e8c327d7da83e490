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
from django.db.models import QuerySet
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
    IdempotencyInProgress while somebody's lease on the operation lasts. A crashed
    operation is gone on with, and so is one that was given up.
    """
    with transaction.atomic():
        if key is None:
            return Begun(start(), None)
        held = _claim(scope, key, _hash(msgspec.json.encode(body)), now)
        if held.status is not None:
            return Begun(_operation_of(held), held, replay=held)
        if held.operation_id is None:
            # Only the transaction that made the row can see it without its operation.
            held.operation = start()
            held.save(update_fields=["operation"])
            return Begun(held.operation, held)
        # The operation is locked before its key is looked at, as where it is
        # finished (the lock order of the design): meanwhile it may be answered.
        operation = Operation.objects.select_for_update().get(pk=held.operation_id)
        held.refresh_from_db()
        if held.status is not None:
            return Begun(operation, held, replay=held)
        if operation.lease_until > now:
            raise IdempotencyInProgress
        operations.go_on(operation, now=now)
        return Begun(operation, held)


def keep(key: IdempotencyKey | None, *, status: int, response: Any) -> None:
    """Remember the answer, in the transaction of its effect. It holds no secret."""
    if key is not None:
        key.status, key.response = status, response
        key.save(update_fields=["status", "response"])


def keep_refusal(key: IdempotencyKey | None, error: ApiError) -> None:
    """Remember a decided refusal, in the transaction that closes its operation.

    A page to authenticate on is left out: it is good for its one customer only.
    """
    details = {name: value for name, value in (error.details or {}).items() if name != "url"}
    response = {"code": error.code, "message": error.message, "details": details or None}
    keep(key, status=error.status, response=response)


def is_decided(error: ApiError) -> bool:
    """Tell whether a refusal is final: a 402 or 409 that does not say *try again*."""
    return error.status in (402, 409) and "Retry-After" not in error.headers


def kept(replay: IdempotencyKey) -> Any:
    """Return the answer that was remembered; raises the refusal, where it was one."""
    found: Any = replay.response
    if replay.status == 200:
        return found
    raise ApiError(
        found["code"],
        found["message"],
        replay.status or 409,
        found["details"],
        headers={"Idempotent-Replayed": "true"},
    )


def let_go(begun: Begun, *, error: str, now: datetime) -> None:
    """The request failed undecided (5xx): the next one with the key may go on at once."""
    operations.release(begun.operation, error=error, now=now)


def forget(*, now: datetime) -> int:
    """Delete keys whose answer need not be remembered any more; returns how many."""
    deleted, _ = _old(now).delete()
    return deleted


def _claim(scope: str, key: str, body_hash: bytes, now: datetime) -> IdempotencyKey:
    mine = {"scope": scope, "key_hash": _hash(key.encode())}
    row = IdempotencyKey(**mine, body_hash=body_hash, created_at=now)
    _old(now).filter(**mine).delete()
    # Waits for a twin that is being inserted: what is read next is committed, or ours.
    IdempotencyKey.objects.bulk_create([row], ignore_conflicts=True)
    held = IdempotencyKey.objects.filter(**mine).first()
    if held is None:
        # It was old, and deleted between the two statements: the next try starts anew.
        raise IdempotencyInProgress
    if bytes(held.body_hash) != body_hash:
        raise IdempotencyConflict
    return held


def _old(now: datetime) -> QuerySet[IdempotencyKey]:
    """Keys answered and past their day. What is undecided stays until it is decided."""
    return IdempotencyKey.objects.filter(created_at__lt=now - KEPT, status__isnull=False)


def _operation_of(held: IdempotencyKey) -> Operation:
    assert held.operation is not None  # noqa: S101 - written in the transaction that claimed it
    return held.operation


def _hash(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
