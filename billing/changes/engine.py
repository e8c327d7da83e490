"""How a change is carried through: written down, asked of Stripe, applied, answered.

1. An operation row is committed; the database allows one unfinished change per
   organisation.
2. Stripe is asked under keys made from the row, with no transaction open.
3. What Stripe answered, the outcome and the answer are committed together.

A crash anywhere leaves the row. Whoever comes next (the client's retry, another
change, the completer) carries it through under the same keys, so Stripe does
each step once. docs/plan-changes.md has the whole of it.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import DatabaseError, IntegrityError, connections, transaction

from billing import convergence, idempotency, operations
from billing.changes.errors import PlanChangeInProgress
from billing.convergence import Fetched
from billing.models import IdempotencyKey, Operation
from billing.stripe_gateway import StripeFailed, StripeKeyRefused, StripeRefused
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError, Unavailable

logger = structlog.get_logger("metergate.changes")
Json = dict[str, Any]

#: How long a request waits for another change of its organisation, in seconds. It holds
#: a place among those who wait for Stripe, so that quota checks keep their threads.
WAIT_SECONDS = 3.0
_POLL_SECONDS = 0.1
#: Stripe keeps an answer under its key for a day. What is older may not be asked again.
GIVE_UP_AFTER = timedelta(hours=23)


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


def run(
    *, kind: str, org_id: str, request: Callable[[], Json], body: Any, key: str | None
) -> Answer:
    """Carry a change through, once per Idempotency-Key.

    `request` returns what the work needs, to be stored; it holds no secret. It is
    called only where the key was not answered before, and what it raises leaves
    nothing behind. Raises PlanChangeInProgress, the refusals of the work, and the
    gateway's errors.
    """
    begun = _begin(kind=kind, org_id=org_id, request=request, body=body, key=key)
    if begun.replay is not None:
        return Answer(idempotency.stored_answer(begun.replay), replayed=True)
    return Answer(_carry_through(begun.operation), replayed=False)


def carry_on(operation: Operation) -> None:
    """Carry an unfinished change of somebody else through. Its lease is the caller's.

    A refusal closes it. Raises only what leaves it unfinished.
    """
    try:
        _carry_through(operation)
    except ApiError as error:
        if may_pass(error):
            raise


def give_up(operation: Operation) -> None:
    """Close a change that could not be finished in a day. What Stripe has of it is converged."""
    logger.error("change_given_up", operation=str(operation.uuid), kind=operation.kind)
    _close(operation, error="given_up")


def is_too_old(operation: Operation, *, now: datetime) -> bool:
    """Tell whether a change may not be asked of Stripe again. `now` is real time."""
    return operation.created_at < now - GIVE_UP_AFTER


def may_pass(error: ApiError) -> bool:
    """Tell whether the same request may do better later.

    It may where Stripe was away, busy or broken, or refused our API key.
    """
    return isinstance(error, Unavailable | StripeFailed | StripeKeyRefused)


def _begin(
    *, kind: str, org_id: str, request: Callable[[], Json], body: Any, key: str | None
) -> idempotency.Begun:
    deadline = time.monotonic() + WAIT_SECONDS
    with ExitStack() as place:
        while True:
            try:
                return idempotency.begin(
                    scope=f"{kind}:{org_id}",
                    key=key,
                    body=body,
                    start=lambda: (
                        _adopted(kind, org_id, body)
                        or operations.start(
                            kind=kind,
                            org_id=org_id,
                            request={**request(), "asked": body},
                            now=clock.real_now(),
                        )
                    ),
                    now=clock.real_now(),
                )
            except IntegrityError:
                # operation_one_change_at_a_time: nothing of ours was written.
                other = _unfinished(org_id)
            if other is None and time.monotonic() < deadline:
                continue  # it was finished just now
            if other is not None and operations.take_over(other, now=clock.real_now()):
                logger.info("change_taken_over", operation=str(other.uuid))
                carry_on(other)
                continue
            if time.monotonic() > deadline:
                raise PlanChangeInProgress
            try:
                # Inside of it, the second time, for free.
                place.enter_context(clients.stripe.place(org_id=org_id))
            except Unavailable:
                raise PlanChangeInProgress from None
            _rest_while_changing(org_id, deadline)


def _rest_while_changing(org_id: str, deadline: float) -> None:
    """Return once no change of the organisation is worked on, or time is over."""
    while time.monotonic() < deadline:
        connections.close_all()  # who waits holds nothing that others may need
        time.sleep(_POLL_SECONDS)
        other = _unfinished(org_id)
        if other is None or other.lease_until <= clock.real_now():
            return


def _adopted(kind: str, org_id: str, body: Any) -> Operation | None:
    """Take over an unfinished change that was asked for in the same words.

    Who was told to try again, and does, wants that change carried through and its
    answer, also where the repeat comes without a key.
    """
    now = clock.real_now()
    left = (
        Operation.objects.select_for_update()
        .filter(
            org_id=org_id,
            kind=kind,
            state=Operation.State.STARTED,
            lease_until__lte=now,
            request__asked=body,
        )
        .first()
    )
    if left is not None:
        operations.go_on(left, now=now)
    return left


def _unfinished(org_id: str) -> Operation | None:
    return Operation.objects.filter(
        org_id=org_id, kind__in=Operation.CHANGES, state=Operation.State.STARTED
    ).first()


def _carry_through(operation: Operation) -> Json:
    try:
        work = WORKERS[operation.kind](operation)
        return _finish(operation, work)
    except ApiError as error:
        if may_pass(error):
            if isinstance(error, StripeFailed):
                # Stripe keeps a 500 under its key for a day: ask under new ones,
                # after the work has looked whether the old ones took effect.
                operations.renew_keys(operation)
            operations.release(operation, error=error.code, now=clock.real_now())
        else:
            _close(operation, error=error.code, refusal=error)
        raise
    except Exception as error:
        # Ours or the database's fault. The row stays; nobody need wait for its lease.
        with suppress(DatabaseError):
            operations.release(operation, error=type(error).__name__, now=clock.real_now())
        raise


def _finish(held: Operation, work: Work) -> Json:
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=held.pk)
        if operation.state == Operation.State.STARTED:
            if work.fetched is not None:
                convergence.apply(work.fetched, because=f"{operation.kind} {operation.uuid}")
            operations.finish(operation, result=work.result(), now=clock.real_now())
        if operation.state != Operation.State.DONE:
            raise Unavailable  # closed by another while we worked: a retry looks again
        result: Json = operation.result or {}
        for key in _waiting_keys(operation):
            idempotency.keep(key, status=200, response=result)
    return result


def _close(held: Operation, *, error: str, refusal: ApiError | None = None) -> None:
    """Close a change that will not be made.

    A decided refusal is remembered for its key. Otherwise the retry with the key
    opens the operation again, and asks Stripe under new keys where it may have
    kept something under the old ones.
    """
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=held.pk)
        if operation.state != Operation.State.STARTED:
            return
        operation.error = error
        if refusal is None or isinstance(refusal, StripeRefused):
            operation.key_generation += 1
        operation.save(update_fields=["error", "key_generation"])
        operations.finish(operation, result={}, now=clock.real_now(), failed=True)
        if refusal is not None and idempotency.is_decided(refusal):
            for key in _waiting_keys(operation):
                idempotency.keep_refusal(key, refusal)


def _waiting_keys(operation: Operation) -> list[IdempotencyKey]:
    """Return the keys that wait for the answer: of the request, and of its repeats."""
    return list(operation.keys.select_for_update().filter(status=None).order_by("pk"))
