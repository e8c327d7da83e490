"""Idempotency-Key: the first answer is the answer (api.md section 1).

Keys are scoped by tenant and route, in our own table and in the effect's own
transaction: one organisation can never be served another's answer, and an
answer is remembered exactly if its effect is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from billing import operations
from billing.models import IdempotencyKey, Operation
from config.contract.errors import ApiError
from config.contract.idempotency import (
    IdempotencyInProgress,
    claim,
    forgettable,
    is_decided,
    store_refusal,
    stored_answer,
)

__all__ = [
    "Begun",
    "begin",
    "forget",
    "is_decided",
    "keep",
    "keep_refusal",
    "let_go",
    "stored_answer",
]


@dataclass(frozen=True, slots=True)
class Begun:
    """What a request with (or without) a key is to do."""

    operation: Operation
    key: IdempotencyKey | None
    replay: IdempotencyKey | None = None


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
        held = claim(
            IdempotencyKey.objects.all(),
            IdempotencyKey(scope=scope, created_at=now),
            key=key,
            body=body,
        )
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
        key.store(status=status, response=response)


def keep_refusal(key: IdempotencyKey | None, error: ApiError) -> None:
    """Remember a decided refusal, in the transaction that closes its operation."""
    if key is not None:
        store_refusal(key, error)


def let_go(begun: Begun, *, error: str, now: datetime) -> None:
    """The request failed undecided (5xx): the next one with the key may go on at once."""
    operations.release(begun.operation, error=error, now=now)


def forget(*, now: datetime) -> int:
    """Delete keys whose answer need not be remembered any more; returns how many."""
    deleted, _ = forgettable(IdempotencyKey.objects.all(), now=now).delete()
    return deleted


def _operation_of(held: IdempotencyKey) -> Operation:
    assert held.operation is not None  # noqa: S101 - written in the transaction that claimed it
    return held.operation
