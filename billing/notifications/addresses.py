"""The addresses that an organisation chose, and those of them that agreed.

Anybody's address can be chosen, so nothing but one link goes there until its reader has
pressed the button behind it. The organisation's own address needs none: it is told where
nothing was chosen, too. What is left out of a choice loses its consent, and is asked again
when it is chosen again. All instants are real time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from uuid_utils.compat import uuid7

from billing.contact.services import LinkGone
from billing.models import Organization
from billing.notifications.models import NotificationAddress, NotificationSettings
from config.contract.doorbell import ring
from tokens import secrets, throttles
from tokens.secrets import hashed

logger = structlog.get_logger("metergate.notifications")
#: For how long it is kept whose reader never agreed.
KEPT = timedelta(days=30)


def chosen_of(org_id: str, current: NotificationSettings | None) -> list[str]:
    """Return the addresses that were chosen, else the organisation's own."""
    if current is None or current.emails is None:
        return _own(org_id)
    return list(dict.fromkeys(current.emails))


def pending_of(org_id: str, current: NotificationSettings | None) -> list[str]:
    """Return those of the chosen addresses that nothing is sent to yet."""
    agreed = _agreed(org_id)
    return [email for email in chosen_of(org_id, current) if email not in agreed]


def recipients_of(org_id: str, current: NotificationSettings | None) -> list[str]:
    """Return who is told by e-mail: those chosen that agreed.

    Where none of them has agreed yet it is the organisation's own address: that a payment
    failed must not go unsaid because a link was not opened.
    """
    chosen, agreed = chosen_of(org_id, current), _agreed(org_id)
    return [email for email in chosen if email in agreed] or (_own(org_id) if chosen else [])


def choose(*, org_id: str, emails: Sequence[str], now: datetime) -> None:
    """Send a link to each address that is new; inside the caller's transaction.

    One whose link is still out gets no second one. The caller has locked the settings.
    Raises Throttled, for all of them together.
    """
    current = _current(org_id)
    current.exclude(email__in=emails).update(withdrawn_at=now, mail_due_at=None)
    # Out of use: so that there may be another link.
    current.filter(confirmed_at=None, expires_at__lte=now).update(withdrawn_at=now)
    known = {*current.values_list("email", flat=True), *_own(org_id)}
    for email in dict.fromkeys(emails):
        if email not in known:
            throttles.count_email_link(org_id, email)
            _ask(org_id, email, now=now)


def look_at(*, token: str, now: datetime) -> NotificationAddress:
    """Return the address that a link would confirm; uses nothing up. Raises LinkGone."""
    address = NotificationAddress.objects.filter(token_hash=hashed(token)).first()
    if address is None or not address.is_open(now):
        raise LinkGone
    return address


def confirm(*, token: str, now: datetime) -> NotificationAddress:
    """Use a link up: its address is told from now on. Raises LinkGone."""
    address = look_at(token=token, now=now)
    # Looked at again as it is written: two clicks, or a choice without it meanwhile.
    confirmed = NotificationAddress.objects.filter(
        pk=address.pk, confirmed_at=None, withdrawn_at=None
    ).update(confirmed_at=now, mail_due_at=None)
    if not confirmed:
        raise LinkGone
    logger.info("notification_address_confirmed", tenant_id=address.org_id)
    return address


def link_token(address: NotificationAddress) -> str:
    """Return the token of an address's link: derived, so that it is stored nowhere."""
    return secrets.derived_link(f"notification-address:{address.uuid}")


def forget(*, now: datetime) -> int:
    """Delete the addresses whose readers never agreed, a month after their links; returns how many.

    They are strangers', and nothing is ever sent there again.
    """
    deleted, _ = NotificationAddress.objects.filter(
        confirmed_at=None, expires_at__lt=now - KEPT
    ).delete()
    return deleted


def _ask(org_id: str, email: str, *, now: datetime) -> None:
    from billing.tasks import mail_address  # tasks call this module: imported late

    address = NotificationAddress(
        uuid=uuid7(),
        org_id=org_id,
        email=email,
        created_at=now,
        expires_at=now + settings.EMAIL_LINK_LIFE,
        mail_due_at=now,
    )
    address.token_hash = hashed(link_token(address))
    address.save()
    transaction.on_commit(lambda: ring(mail_address, address.pk))


def _current(org_id: str) -> QuerySet[NotificationAddress]:
    return NotificationAddress.objects.filter(org_id=org_id, withdrawn_at=None)


def _agreed(org_id: str) -> set[str]:
    confirmed = _current(org_id).filter(~Q(confirmed_at=None))
    return {*confirmed.values_list("email", flat=True), *_own(org_id)}


def _own(org_id: str) -> list[str]:
    return list(Organization.objects.filter(org_id=org_id).values_list("email", flat=True))
