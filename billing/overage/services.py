"""Charging what is due: written down first, then asked of Stripe until it is done."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from billing import operations
from billing.models import Operation
from billing.overage import due
from billing.overage.charge import Json, charge
from billing.stripe_gateway import StripeFailed, StripeKeyRefused, StripeNotFound
from config.contract import clock
from config.contract.errors import ApiError, Unavailable

logger = structlog.get_logger("metergate.overage")
_AT_ONCE = 100
#: Seconds that one sweep may begin new work for, well inside a task's time limit.
_SWEEP_SECONDS = 60.0
_LONGEST_WAIT = timedelta(hours=1)


@dataclass(slots=True)
class Charged:
    """What a sweep did: periods newly found, charged, left for the next, given up."""

    found: int = 0
    charged: int = 0
    waiting: int = 0
    failed: int = 0


def charge_due(*, now: datetime) -> Charged:
    """Charge the overage of the periods that are closed at `now`. Safe to run twice and at once.

    What Stripe does not answer or refuses stays written down and is asked again,
    after a minute at first and an hour at most. It is given up only where the
    customer was deleted at Stripe: there is nobody to charge.
    """
    done = Charged(found=due.write_down(now=now))
    left = Operation.objects.filter(
        kind=Operation.Kind.OVERAGE,
        state=Operation.State.STARTED,
        lease_until__lte=clock.real_now(),
    ).order_by("lease_until", "pk")[:_AT_ONCE]
    end = time.monotonic() + _SWEEP_SECONDS
    for operation in left:
        if time.monotonic() > end:
            break
        if not operations.take_over(operation, now=clock.real_now()):
            continue
        try:
            _close(operation, charge(operation), failed=False)
            done.charged += 1
        except (Unavailable, StripeKeyRefused):
            # The others would wait for it as long.
            _rest(operation)
            done.waiting += 1
            break
        except StripeNotFound as missing:
            if missing.param == "customer":
                _close(operation, {"reason": "customer_deleted"}, failed=True)
                logger.error("overage_given_up", operation=str(operation.uuid))
                done.failed += 1
            else:
                _wait(operation, missing)
                done.waiting += 1
        except Exception as error:  # noqa: BLE001 - one that fails must not keep the others waiting
            _wait(operation, error)
            done.waiting += 1
    return done


def _close(held: Operation, result: Json, *, failed: bool) -> None:
    with transaction.atomic():
        operation = Operation.objects.select_for_update().get(pk=held.pk)
        if operation.state == Operation.State.STARTED:
            operations.finish(operation, result=result, now=clock.real_now(), failed=failed)


def _wait(operation: Operation, error: Exception) -> None:
    if isinstance(error, StripeFailed):
        # Stripe keeps a 500 under its key for a day; the next try looks first.
        operations.renew_keys(operation)
    # What Stripe answered is logged by the gateway; anything else is a fault of ours.
    expected = isinstance(error, ApiError)
    (logger.warning if expected else logger.error)(
        "overage_waits",
        operation=str(operation.uuid),
        attempts=operation.attempts,
        error=type(error).__name__,
        exc_info=not expected,
    )
    _rest(operation)


def _rest(operation: Operation) -> None:
    longer = operations.LEASE * 2 ** min(operation.attempts - 1, 10)
    until = clock.real_now() + min(longer, _LONGEST_WAIT)
    Operation.objects.filter(pk=operation.pk, state=Operation.State.STARTED).update(
        lease_until=until
    )
