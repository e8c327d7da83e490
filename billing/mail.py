"""What owners are told by e-mail."""

from datetime import datetime, timedelta
from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.db.models import QuerySet
from django.template.loader import render_to_string

from billing import operations, signup
from billing.models import Operation
from tokens.services import restart_code

logger = structlog.get_logger("metergate.billing")

#: For how long an owner is told again after a failure. Staff can send a new code later.
TRIED_FOR = timedelta(hours=24)


def untold(*, now: datetime) -> QuerySet[Operation]:
    """Return the sign-ups whose owner is to be told now, oldest first. `now` is real time."""
    return Operation.objects.filter(
        kind=Operation.Kind.SIGN_UP,
        state=Operation.State.DONE,
        notified_at=None,
        finished_at__gt=now - TRIED_FOR,
        lease_until__lte=now,
    ).order_by("finished_at")


def tell_owner(operation_pk: int, *, now: datetime) -> bool:
    """Send the owner's one-time code, once; returns whether it was sent now.

    The code's life begins again as the mail leaves, however late that is. A code
    that was used already (it was in the answer) is not sent. A mail server that
    refuses is tried again, at growing distances; nothing is held while it thinks.
    """
    # One conditional UPDATE: the doorbell and the sweeper may both be here.
    won = untold(now=now).filter(pk=operation_pk).update(lease_until=now + operations.LEASE)
    if not won:
        return False
    operation = Operation.objects.get(pk=operation_pk)
    code = signup.owners_code(operation)
    sent = restart_code(code=code, now=now)
    if sent:
        try:
            _send_owners_code(operation, code=code)
        except (SMTPException, OSError) as error:
            # No text of the error: it quotes the address.
            logger.warning("owner_not_told", org_id=operation.org_id, error=type(error).__name__)
            _try_again(operation, now=now)
            return False
    operation.notified_at = now
    operation.save(update_fields=["notified_at"])
    return sent


def _try_again(operation: Operation, *, now: datetime) -> None:
    assert operation.finished_at is not None  # noqa: S101 - only what is done is told
    # As long again as it has taken so far: 1, 2, 4 … minutes.
    operation.lease_until = now + max(operations.LEASE, now - operation.finished_at)
    operation.save(update_fields=["lease_until"])
    if operation.lease_until >= operation.finished_at + TRIED_FOR:
        logger.error("owner_never_told", org_id=operation.org_id)


def _send_owners_code(operation: Operation, *, code: str) -> None:
    context = {
        "name": operation.request["name"],
        "code": code,
        "url": settings.PUBLIC_URL,
        "minutes": int(settings.ACTIVATION_CODE_LIFE.total_seconds() // 60),
    }
    send_mail(
        "Your Metergate activation code",
        render_to_string("mail/owners_code.txt", context),
        settings.DEFAULT_FROM_EMAIL,
        [operation.request["email"]],
    )
