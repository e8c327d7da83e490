"""How a change is carried through: written down, asked of Stripe, applied, answered.

1. An operation row is committed; the database allows one unfinished change per
   organisation.
2. Stripe is asked under keys made from the row, with no transaction open.
3. What Stripe answered, the outcome and the answer are committed together.

A crash anywhere leaves the row. Whoever comes next (the client's retry, another
change, the completer) carries it through under the same keys, so Stripe does
each step once.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import IntegrityError, transaction

from billing import convergence, idempotency, operations
from billing.changes.errors import PlanChangeInProgress
from billing.convergence import Fetched
from billing.models import IdempotencyKey, Operation
from billing.stripe_gateway import StripeFailed
from config.contract import clock
from config.contract.errors import ApiError

logger = structlog.get_logger("metergate.changes")
Json = dict[str, Any]

#: How long a request waits for another change of its organisation, in seconds.
WAIT_SECONDS = 3.0
_POLL_SECONDS = 0.1
#: One waiter per process: the others are told to come back, so that waiting
#: never takes the threads that answer quota checks.
_waiting = threading.BoundedSemaphore(1)


@dataclass(frozen=True, slots=True)
class Work:
    """What Stripe answered, and how the answer is made once it is written down."""

    fetched: Fetched | None
    result: Callable[[], Json]


Worker = Callable[[Operation], Work]
#: By kind; filled by billing.changes.steps.
WORKERS: dict[str, Worker] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """The data of the answer, and whether it was given before."""

    data: Json
    replayed: bool


def run(*, kind: str, org_id: str, request: Json, body: Any, key: str | None) -> Answer:
    """Carry a change through, once per Idempotency-Key.

    `request` is what the work needs and is stored; it holds no secret. Raises
    PlanChangeInProgress, the refusals of the work, and the gateway's errors.
    """
    begun = _begin(kind=kind, org_id=org_id, request=request, body=body, key=key)
    if begun.replay is not None:
        return Answer(_stored(begun.replay), replayed=True)
    return Answer(_carry_through(begun), replayed=False)


def carry_on(operation: Operation) -> None:
    """Carry an unfinished change of somebody else through. Its lease is the caller's.

    A refusal is written down as its outcome; undecided errors are raised.
    """
    key = IdempotencyKey.objects.filter(operation=operation).first()
    try:
        _carry_through(idempotency.Begun(operation, key))
    except ApiError as error:
        if not _is_decided(error):
            raise


def _begin(
    *, kind: str, org_id: str, request: Json, body: Any, key: str | None
) -> idempotency.Begun:
    deadline = time.monotonic() + WAIT_SECONDS
    waits = False
    try:
        while True:
            now = clock.real_now()
            try:
                return idempotency.begin(
                    scope=f"{kind}:{org_id}",
                    key=key,
                    body=body,
                    start=lambda: operations.start(
                        kind=kind, org_id=org_id, request=request, now=clock.real_now()
                    ),
                    now=now,
                )
            except IntegrityError:
                # operation_one_change_at_a_time: nothing of ours was written.
                other = _unfinished(org_id)
            if other is None:
                continue
            if operations.take_over(other, now=now):
                logger.info("change_taken_over", operation=str(other.uuid))
                carry_on(other)
                continue
            if not waits:
                waits = _waiting.acquire(blocking=False)
            if not waits or time.monotonic() > deadline:
                raise PlanChangeInProgress
            time.sleep(_POLL_SECONDS)
    finally:
        if waits:
            _waiting.release()


def _unfinished(org_id: str) -> Operation | None:
    return (
        Operation.objects.filter(org_id=org_id, state=Operation.State.STARTED)
        .exclude(kind=Operation.Kind.SIGN_UP)
        .first()
    )


def _carry_through(begun: idempotency.Begun) -> Json:
    operation = begun.operation
    try:
        work = WORKERS[operation.kind](operation)
        return _finish(begun, work)
    except ApiError as error:
        if _is_decided(error):
            _refuse(begun, error)
        else:
            if isinstance(error, StripeFailed):
                # Stripe keeps a 500 under its key for a day: ask under new ones,
                # after the work has looked whether the old ones took effect.
                operations.renew_keys(operation)
            idempotency.let_go(begun, error=error.code, now=clock.real_now())
        raise


def _finish(begun: idempotency.Begun, work: Work) -> Json:
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=begun.operation.pk)
        if operation.state == Operation.State.STARTED:
            if work.fetched is not None:
                convergence.apply(work.fetched, because=f"{operation.kind} {operation.uuid}")
            operations.finish(operation, result=work.result(), now=clock.real_now())
        result: Json = operation.result or {}
        idempotency.keep(begun.key, status=200, response=result)
    return result


def _refuse(begun: idempotency.Begun, error: ApiError) -> None:
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=begun.operation.pk)
        if operation.state == Operation.State.STARTED:
            operation.error = error.code
            operation.save(update_fields=["error"])
            operations.finish(operation, result={}, now=clock.real_now(), failed=True)
        idempotency.keep(
            begun.key,
            status=error.status,
            response={
                "code": error.code,
                "message": error.message,
                # A page to authenticate on is good for its one customer only.
                "details": {k: v for k, v in (error.details or {}).items() if k != "url"} or None,
            },
        )


def _stored(replay: IdempotencyKey) -> Json:
    answer: Json = replay.response or {}
    if replay.status == 200:
        return answer
    raise ApiError(
        answer["code"],
        answer["message"],
        replay.status or 409,
        answer.get("details"),
        headers={"Idempotent-Replayed": "true"},
    )


def _is_decided(error: ApiError) -> bool:
    """Tell whether a refusal is final: 402 and 409, but for *try again* ones."""
    return error.status in (402, 409) and "Retry-After" not in error.headers
