"""What runs after the answer."""

import structlog
from celery import shared_task
from django.db import transaction

from billing import idempotency, mail, operations, signup
from billing.changes import engine, steps  # noqa: F401 - steps registers the workers
from billing.models import IdempotencyKey, Operation
from config.contract import clock
from config.contract.errors import ApiError

logger = structlog.get_logger("metergate.billing")
_AT_ONCE = 100


@shared_task
def mail_owner(operation_pk: int) -> None:
    """Send the owner's one-time code, once."""
    with transaction.atomic():
        operation = (
            Operation.objects.select_for_update(skip_locked=True)
            .filter(pk=operation_pk, state=Operation.State.DONE, notified_at=None)
            .first()
        )
        if operation is None:
            return
        mail.send_owners_code(operation, code=signup.owners_code(operation))
        operation.notified_at = clock.real_now()
        operation.save(update_fields=["notified_at"])


@shared_task
def finish_changes() -> None:
    """Carry through the plan changes that a crash or a lost answer left unfinished."""
    now = clock.real_now()
    left = (
        Operation.objects.filter(state=Operation.State.STARTED, lease_until__lte=now)
        .exclude(kind=Operation.Kind.SIGN_UP)
        .order_by("lease_until")[:_AT_ONCE]
    )
    for operation in left:
        if not operations.take_over(operation, now=now):
            continue
        try:
            engine.carry_on(operation)
        except ApiError as error:
            # Its lease was given back, but Stripe gets a minute before the next try.
            operations.wait(operation, now=clock.real_now())
            logger.warning("change_waits", operation=str(operation.uuid), code=error.code)


@shared_task
def finish_sign_ups() -> None:
    """Complete sign-ups that a crash left, and send the mail that a lost message did not."""
    now = clock.real_now()
    left = Operation.objects.filter(
        kind=Operation.Kind.SIGN_UP, state=Operation.State.STARTED, lease_until__lte=now
    ).order_by("lease_until")[:_AT_ONCE]
    for operation in left:
        if not operations.take_over(operation, now=now):
            continue
        if operation.attempts >= signup.MOST_ATTEMPTS:
            signup.give_up(operation, error="attempts")
            logger.error("sign_up_given_up", operation=str(operation.uuid))
            continue
        key = IdempotencyKey.objects.filter(operation=operation).first()
        begun = idempotency.Begun(operation, key)
        try:
            signup.complete(begun)
        except ApiError as error:
            # Its lease stays: the next try is a minute away.
            logger.warning("sign_up_waits", operation=str(operation.uuid), code=error.code)
    untold = Operation.objects.filter(
        kind=Operation.Kind.SIGN_UP, state=Operation.State.DONE, notified_at=None
    ).order_by("finished_at")
    for pk in untold.values_list("pk", flat=True)[:_AT_ONCE]:
        mail_owner(pk)
