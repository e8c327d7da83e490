"""Operations: what we ask of Stripe is written down, with a lease, before we ask.

A crash leaves a row whose lease runs out; the completer, or the client's retry,
takes it over and goes on under the same idempotency keys, so nothing happens twice.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from uuid_utils.compat import uuid7

from billing.models import Operation

LEASE = timedelta(seconds=60)


def start(*, kind: str, org_id: str, request: dict[str, Any], now: datetime) -> Operation:
    """Write down what is about to be asked; the caller commits it before asking.

    `now` is real time: a lease protects against a crash, not against a month.
    """
    return Operation.objects.create(
        uuid=uuid7(),
        kind=kind,
        org_id=org_id,
        request=request,
        attempts=1,
        lease_until=now + LEASE,
        created_at=now,
    )


def take_over(operation: Operation, *, now: datetime) -> bool:
    """Lease an unfinished operation whose lease ran out. False when somebody else was first.

    The one who wins holds it as it is now: whoever had it before may have renewed its keys.
    """
    won = Operation.objects.filter(
        pk=operation.pk, state=Operation.State.STARTED, lease_until__lte=now
    ).update(lease_until=now + LEASE, attempts=F("attempts") + 1)
    if won:
        operation.refresh_from_db()
    return won == 1


def go_on(operation: Operation, *, now: datetime) -> None:
    """Lease an operation for another try; the caller has locked it and found its lease over.

    One that was given up is opened again: its organisation and what it has at
    Stripe are still its own.
    """
    operation.state = Operation.State.STARTED
    operation.result = operation.finished_at = None
    operation.lease_until = now + LEASE
    operation.attempts += 1
    operation.save(update_fields=["state", "result", "finished_at", "lease_until", "attempts"])


def note(operation: Operation, **facts: Any) -> None:
    """Write down, for whoever goes on with it, what was done on the way. No secret."""
    operation.request = {**operation.request, **facts}
    operation.save(update_fields=["request"])


def wait(operation: Operation, *, now: datetime) -> None:
    """Let an unfinished operation rest for the length of a lease."""
    Operation.objects.filter(pk=operation.pk, state=Operation.State.STARTED).update(
        lease_until=now + LEASE
    )


def release(operation: Operation, *, error: str, now: datetime) -> None:
    """Give an unfinished operation back, so that the next one need not wait for the lease."""
    Operation.objects.filter(pk=operation.pk, state=Operation.State.STARTED).update(
        lease_until=now, error=error[:200]
    )


def finish(
    operation: Operation, *, result: dict[str, Any], now: datetime, failed: bool = False
) -> None:
    """Write the outcome down; in the transaction of its effects. Holds no secret.

    The lease ends with it: from now on it says who tells the outcome, where that is done.
    """
    operation.state = Operation.State.FAILED if failed else Operation.State.DONE
    operation.result = result
    operation.finished_at = operation.lease_until = now
    operation.save(update_fields=["state", "result", "finished_at", "lease_until"])


def stripe_key(operation: Operation, step: str) -> str:
    """Return the idempotency key of one step: from the operation alone, never from its inputs."""
    return f"{operation.kind}:{step}:{operation.uuid}:{operation.key_generation}"


def renew_keys(operation: Operation) -> None:
    """Ask under new keys from now on.

    Stripe keeps a 5xx under its key for a day. Only for work that first looks
    whether what it asked for under the old keys took effect.
    """
    Operation.objects.filter(pk=operation.pk).update(key_generation=F("key_generation") + 1)
