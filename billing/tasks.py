"""What runs after the answer."""

import time

import structlog
from celery import shared_task

from billing import checkouts, idempotency, mail, operations, signup
from billing.changes import engine, steps  # noqa: F401 - steps registers the workers
from billing.contact import following, mailing
from billing.models import IdempotencyKey, Operation
from billing.notifications import addresses, announcing, asking, deliveries
from billing.overage import services as overage
from config.contract import clock
from config.contract.errors import ApiError
from config.contract.idempotency import forget as forget_keyed_requests

logger = structlog.get_logger("metergate.billing")
_AT_ONCE = 100
#: Seconds that one sweep may begin new work for, well inside a task's time limit.
_SWEEP_SECONDS = 60.0
#: The same for what has a beat of seconds: other tasks want the worker too.
_SHORT_SECONDS = 10.0


@shared_task
def mail_owner(operation_pk: int) -> None:
    """Send the owner's one-time code, once."""
    mail.tell_owner(operation_pk, now=clock.real_now())


@shared_task
def finish_changes() -> None:
    """Carry through the plan changes that a crash or a lost answer left unfinished."""
    left = Operation.objects.filter(
        kind__in=Operation.CHANGES,
        state=Operation.State.STARTED,
        lease_until__lte=clock.real_now(),
    ).order_by("lease_until")[:_AT_ONCE]
    end = time.monotonic() + _SWEEP_SECONDS
    for operation in left:
        if time.monotonic() > end:
            break
        # Looked at anew for each: a lease counted from the first would be over at the last.
        now = clock.real_now()
        if not operations.take_over(operation, now=now):
            continue
        if engine.is_too_old(operation, now=now):
            engine.give_up(operation)
            continue
        try:
            engine.carry_on(operation)
        except Exception as error:  # noqa: BLE001 - one that fails must not keep the others waiting
            # Its lease was given back, but it gets a minute before the next try.
            operations.wait(operation, now=clock.real_now())
            # What Stripe answered is logged by the gateway; anything else is a fault of ours.
            logger.warning(
                "change_waits",
                operation=str(operation.uuid),
                error=type(error).__name__,
                exc_info=not isinstance(error, ApiError),
            )


@shared_task
def finish_sign_ups() -> None:
    """Complete sign-ups that a crash left, and send the mail that a lost message did not."""
    now = clock.real_now()
    left = Operation.objects.filter(
        kind=Operation.Kind.SIGN_UP, state=Operation.State.STARTED, lease_until__lte=now
    ).order_by("lease_until")[:_AT_ONCE]
    for operation in left:
        if operations.take_over(operation, now=clock.real_now()):
            _finish_sign_up(operation)
    untold = mail.untold(now=now)
    for pk in untold.values_list("pk", flat=True)[:_AT_ONCE]:
        mail.tell_owner(pk, now=clock.real_now())


def _finish_sign_up(operation: Operation) -> None:
    begun = idempotency.Begun(operation, IdempotencyKey.objects.filter(operation=operation).first())
    if operation.attempts > signup.MOST_ATTEMPTS:
        signup.give_up(begun, error="attempts")
        logger.error("sign_up_given_up", operation=str(operation.uuid))
        return
    try:
        signup.complete(begun)
    except ApiError as error:
        # Its lease stays: the next try is a minute away.
        logger.warning("sign_up_waits", operation=str(operation.uuid), code=error.code)
    except Exception:
        # One that cannot be finished must not keep the others waiting.
        logger.exception("sign_up_failed", operation=str(operation.uuid))


@shared_task
def follow_contact(org_id: str) -> None:
    """Bring an organisation's customer at Stripe up to date with its name and e-mail."""
    following.follow(org_id, now=clock.real_now())


@shared_task
def follow_contacts() -> None:
    """Bring every customer up to date that a lost message, a crash or Stripe left behind."""
    end = time.monotonic() + _SHORT_SECONDS
    for org_id in following.due(now=clock.real_now()):
        if time.monotonic() > end:
            break
        following.follow(org_id, now=clock.real_now())


@shared_task
def mail_contact(change_pk: int) -> None:
    """Send what is due of a change of e-mail address."""
    mailing.send_due(change_pk, now=clock.real_now())


@shared_task
def mail_contacts() -> None:
    """Send what a lost message or a mail server left unsent."""
    end = time.monotonic() + _SHORT_SECONDS
    for pk in mailing.due(now=clock.real_now()):
        if time.monotonic() > end:
            break
        mailing.send_due(pk, now=clock.real_now())


@shared_task
def mail_address(address_pk: int) -> None:
    """Send a notification address its link."""
    asking.send_due(address_pk, now=clock.real_now())


@shared_task
def mail_addresses() -> None:
    """Send the links that a lost message or a mail server left unsent."""
    end = time.monotonic() + _SHORT_SECONDS
    for pk in asking.due(now=clock.real_now()):
        if time.monotonic() > end:
            break
        asking.send_due(pk, now=clock.real_now())


@shared_task
def charge_overage() -> None:
    """Charge what was used past the plans in periods that are closed."""
    overage.charge_due(now=clock.now())


@shared_task
def end_checkout_trials() -> None:
    """End the trials that ran out without their Checkout page being completed."""
    checkouts.end_trials(now=clock.now())


@shared_task
def forget_answers() -> None:
    """Delete Idempotency-Keys whose answers are a day old, and addresses that never agreed."""
    now = clock.real_now()
    idempotency.forget(now=now)
    forget_keyed_requests(now=now)
    addresses.forget(now=now)


@shared_task
def announce_crossings() -> None:
    """Announce the thresholds that were crossed."""
    end = time.monotonic() + _SHORT_SECONDS
    while announcing.announce_crossings() and time.monotonic() < end:
        pass


@shared_task
def announce_trial_ends() -> None:
    """Announce the trials that are about to end."""
    announcing.announce_trial_ends(now=clock.now())


@shared_task
def deliver_notifications() -> None:
    """Send what is due, and try again what failed."""
    end = time.monotonic() + _SHORT_SECONDS
    while deliveries.deliver_some() and time.monotonic() < end:
        pass
