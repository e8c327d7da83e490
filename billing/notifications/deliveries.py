"""Sending what waits: claimed in the database, sent with no transaction open, noted after.

A crash between sending and noting leaves a delivery that becomes due again, and
is sent again under the same id: at least once, and known for a repeat.
"""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from smtplib import SMTPException

import msgspec
import structlog
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F

from billing.notifications import mailing, posting, signing
from billing.notifications.models import Delivery, Notification, NotificationSettings
from billing.notifications.posting import Answered
from config.contract import clock, metrics
from config.contract.bodies import rfc3339
from config.contract.errors import NotFound

logger = structlog.get_logger("metergate.notifications")
State, Channel = Delivery.State, Delivery.Channel

#: Longer than the slowest attempt, its name's resolution included.
LEASE = timedelta(seconds=60)
#: Between attempts, as Standard Webhooks proposes; after the last one it is given up.
WAITS = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
)
_AT_ONCE = 8
#: One organisation's slow receiver must not keep the others waiting.
_OF_ONE_ORGANISATION = 2
_GONE = 410


def deliver_some() -> int:
    """Send a handful of what is due, at the same time; returns how many were tried."""
    claimed = _claim(now=clock.real_now())
    if not claimed:
        return 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # Whatever needs the database is read here: the threads talk to others only.
        running = {pool.submit(_attempt(one)): one for one in claimed}
        for done in as_completed(running):
            note(running[done], done.result(), now=clock.real_now())
    return len(claimed)


def _claim(*, now: datetime) -> list[Delivery]:
    with transaction.atomic():
        due = (
            Delivery.objects.filter(state=State.WAITING, due_at__lte=now)
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("notification")
            .order_by("due_at")
        )
        by_org: Counter[str] = Counter()
        claimed: list[Delivery] = []
        for one in due[: _AT_ONCE * 8]:
            if by_org[one.notification.org_id] < _OF_ONE_ORGANISATION:
                by_org[one.notification.org_id] += 1
                claimed.append(one)
        claimed = claimed[:_AT_ONCE]
        Delivery.objects.filter(pk__in=[one.pk for one in claimed]).update(
            due_at=now + LEASE, attempts=F("attempts") + 1, round=F("round") + 1
        )
    for one in claimed:
        one.attempts += 1
        one.round += 1
    return claimed


def _attempt(delivery: Delivery) -> Callable[[], Answered]:
    notification = delivery.notification
    if delivery.channel == Channel.EMAIL:
        message = mailing.message(notification, delivery.address)
        return lambda: _mail(message)
    asked = NotificationSettings.objects.filter(org_id=notification.org_id).exclude(url="").first()
    if asked is None:
        return lambda: Answered(error="no_url")
    body = body_of(notification)
    now = clock.real_now()
    signed = signing.headers(
        message_id=notification.message_id, at=now, body=body, secrets=secrets_of(asked, now=now)
    )
    url = asked.url
    return lambda: posting.post(url, body=body, headers=signed)


def body_of(notification: Notification) -> bytes:
    """Return what a webhook says: the same bytes at each attempt."""
    return msgspec.json.encode(
        {
            "type": notification.kind,
            "timestamp": rfc3339(notification.happened_at),
            "data": notification.data,
        }
    )


def secrets_of(asked: NotificationSettings, *, now: datetime) -> list[str]:
    """Return the secrets that sign at `now`, the newest first."""
    held = [signing.secret_of(asked.secret_id)]
    if asked.previous_secret_id and asked.previous_until and now < asked.previous_until:
        held.append(signing.secret_of(asked.previous_secret_id))
    return held


def _mail(message: EmailMessage) -> Answered:
    try:
        message.send()
    except (SMTPException, OSError):
        # No text of the error: it quotes the address.
        return Answered(error="mail_refused")
    return Answered(status=250)


def note(delivery: Delivery, answered: Answered, *, now: datetime) -> None:
    """Write down what came of an attempt, unless somebody took it over meanwhile."""
    state, due_at = _next(delivery, answered, now)
    waits = state == State.WAITING
    held = Delivery.objects.filter(
        pk=delivery.pk, state=State.WAITING, attempts=delivery.attempts
    ).update(
        state=state,
        due_at=due_at,
        answer=answered.status if delivery.channel == Channel.WEBHOOK else None,
        error="" if answered.accepted else answered.error or f"http_{answered.status}",
        finished_at=None if waits else now,
    )
    if not held:
        return
    outcome = "delivered" if state == State.DONE else "retried" if waits else "given_up"
    metrics.DELIVERIES.labels(delivery.channel, outcome).inc()
    # Neither the URL nor the address: both are the customer's.
    log = logger.warning if state == State.FAILED else logger.info
    log(
        f"notification_{outcome}",
        tenant_id=delivery.notification.org_id,
        delivery=delivery.pk,
        channel=delivery.channel,
        attempt=delivery.attempts,
        status=answered.status,
        error=answered.error or None,
    )


def _next(delivery: Delivery, answered: Answered, now: datetime) -> tuple[str, datetime]:
    if answered.accepted:
        return State.DONE, now
    if answered.status == _GONE or answered.error == "no_url" or delivery.round > len(WAITS):
        return State.FAILED, now
    # A little apart, so that a receiver that comes back is not met by all at once.
    wait = WAITS[delivery.round - 1] * random.uniform(1, 1.1)  # noqa: S311 - jitter, not a secret
    return State.WAITING, now + max(wait, timedelta(seconds=answered.retry_after))


def resend(delivery_pk: int, *, now: datetime) -> Delivery:
    """Send again what was sent or given up, under the same id. Raises NotFound.

    One that still waits is sent at once. `now` is real time.
    """
    with transaction.atomic():
        delivery = (
            Delivery.objects.select_for_update(of=("self",))
            .select_related("notification")
            .filter(pk=delivery_pk)
            .first()
        )
        if delivery is None:
            raise NotFound
        delivery.state = State.WAITING
        delivery.round = 0
        delivery.due_at = now
        delivery.finished_at = None
        delivery.save(update_fields=["state", "round", "due_at", "finished_at"])
    logger.info("notification_resent", tenant_id=delivery.notification.org_id, delivery=delivery.pk)
    return delivery
