"""Idempotency-Key: the first answer is the answer (api.md section 1).

What every route that takes a key shares, and `answer_once` for what is done in our
own database alone. What asks Stripe has an operation besides (billing.idempotency).
"""

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db import models, transaction
from django.http import HttpRequest
from uuid_utils.compat import uuid7

from config.contract.errors import ApiError, ValidationFailed
from config.contract.models import KeyedRequest, StoredAnswer

HEADER = "HTTP_IDEMPOTENCY_KEY"
KEPT = timedelta(hours=24)
#: How long a request that crashed keeps others with its key away.
LEASE = timedelta(seconds=60)
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")

Stored = TypeVar("Stored", bound=StoredAnswer)


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


def key_of(request: HttpRequest) -> str | None:
    """Return the request's Idempotency-Key, if it has one. Raises ValidationFailed."""
    key: str | None = request.META.get(HEADER)
    if key is None:
        return None
    if not _PRINTABLE.fullmatch(key):
        raise ValidationFailed({"Idempotency-Key": ["1 to 255 printable ASCII characters"]})
    return key


def claim(rows: "models.QuerySet[Stored]", new: Stored, *, key: str, body: Any) -> Stored:
    """Insert `new` under a key, or return the row that is there. In a transaction.

    `new` says its scope and when it was made. Raises IdempotencyConflict where the
    key was used with another body.
    """
    new.key_hash = _hash(key.encode())
    new.body_hash = _hash(msgspec.json.encode(body))
    mine = rows.filter(scope=new.scope, key_hash=new.key_hash)
    forgettable(mine, now=new.created_at).delete()
    # Waits for a twin that is being inserted: what is read next is committed, or ours.
    rows.bulk_create([new], ignore_conflicts=True)
    row = mine.first()
    if row is None:
        # It was old, and deleted between the two statements: the next try starts anew.
        raise IdempotencyInProgress
    if bytes(row.body_hash) != new.body_hash:
        raise IdempotencyConflict
    return row


def forgettable(rows: "models.QuerySet[Stored]", *, now: datetime) -> "models.QuerySet[Stored]":
    """Return those answered and past their day. What is undecided stays until it is decided."""
    return rows.filter(created_at__lt=now - KEPT, status__isnull=False)


def forget(*, now: datetime) -> int:
    """Delete the answers of `answer_once` that are a day old; returns how many."""
    deleted, _ = forgettable(KeyedRequest.objects.all(), now=now).delete()
    return deleted


def is_decided(error: ApiError) -> bool:
    """Tell whether a refusal is final: a 402 or 409 that does not say *try again*."""
    return error.status in (402, 409) and "Retry-After" not in error.headers


def store_refusal(row: StoredAnswer, error: ApiError) -> None:
    """Remember a decided refusal.

    A page to authenticate on is left out: it is good for its one customer only.
    """
    details = {name: value for name, value in (error.details or {}).items() if name != "url"}
    response = {"code": error.code, "message": error.message, "details": details or None}
    row.store(status=error.status, response=response)


def stored_answer(row: StoredAnswer) -> Any:
    """Return the answer that was remembered; raises the refusal, where it was one."""
    response: Any = row.response
    if row.status == 200:
        return response
    raise ApiError(
        response["code"],
        response["message"],
        row.status or 409,
        response["details"],
        headers={"Idempotent-Replayed": "true"},
    )


def answer_once(
    *, scope: str, key: str | None, body: Any, act: Callable[[UUID | None], Any], now: datetime
) -> tuple[Any, bool]:
    """Perform `act` once for a key; return its answer, and whether it was remembered.

    `act` takes an id that stays the same for the key, so that what a crash left half
    done is gone on with and not done twice; None where there is no key. Its answer is
    JSON and holds no secret. `now` is real time. Raises IdempotencyConflict,
    IdempotencyInProgress while another request with the key runs, and what `act`
    raises: a decided refusal is remembered, after anything else the key may be tried
    again at once.
    """
    if key is None:
        return act(None), False
    row = _begin(scope, key, body, now)
    if row.status is not None:
        return stored_answer(row), True
    try:
        answer = act(row.act_id)
    except ApiError as error:
        if is_decided(error):
            store_refusal(row, error)
        else:
            row.release(now=now)
        raise
    except BaseException:
        row.release(now=now)
        raise
    row.store(status=200, response=answer)
    return answer, False


def _begin(scope: str, key: str, body: Any, now: datetime) -> KeyedRequest:
    """Claim the key and lease the request; commits."""
    new = KeyedRequest(scope=scope, act_id=uuid7(), lease_until=now, created_at=now)
    with transaction.atomic():
        claimed = claim(KeyedRequest.objects.all(), new, key=key, body=body)
        row = KeyedRequest.objects.select_for_update().get(pk=claimed.pk)
        if row.status is None:
            if row.lease_until > now:
                raise IdempotencyInProgress
            row.lease_until = now + LEASE
            row.save(update_fields=["lease_until"])
    return row


def _hash(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
