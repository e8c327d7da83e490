"""The e-mails of a change of address: the link to the new one, word to the old one."""

from datetime import datetime, timedelta
from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from billing import operations
from billing.contact.models import EmailChange
from billing.contact.services import link_token
from billing.models import Organization

logger = structlog.get_logger("metergate.contact")
#: For how long a mail is tried again.
TRIED_FOR = timedelta(hours=24)
_SUBJECTS = {
    "email_link": "Confirm your new e-mail address",
    "email_asked": "Your e-mail address is about to change",
    "email_changed": "Your e-mail address was changed",
}


def due(*, now: datetime) -> list[int]:
    """Return the changes of which something is to be mailed now, oldest first. Real time."""
    waiting = EmailChange.objects.filter(mail_due_at__lte=now).order_by("mail_due_at")
    return list(waiting.values_list("pk", flat=True)[:100])


def send_due(pk: int, *, now: datetime) -> None:
    """Send what is due of a change, each mail once. `now` is real time.

    A mail server that refuses is tried again, at growing distances, for a day; nothing
    is held while it thinks.
    """
    # One conditional UPDATE: the doorbell and the sweeper may both be here.
    lease = now + operations.LEASE
    if not EmailChange.objects.filter(pk=pk, mail_due_at__lte=now).update(mail_due_at=lease):
        return
    change = EmailChange.objects.get(pk=pk)
    due_again = None
    for field, template, address, applies in _mails(change, now):
        if getattr(change, field) is not None or not applies:
            continue
        try:
            _send(change, template, address)
        except (SMTPException, OSError, ValueError) as error:
            # No text of the error: it quotes the address.
            logger.warning("mail_refused", tenant_id=change.org_id, error=type(error).__name__)
            due_again = _next_try(change, now=now)
            continue
        EmailChange.objects.filter(pk=pk).update(**{field: now})
    # Whatever was confirmed meanwhile is due by itself: only our own lease is taken back.
    EmailChange.objects.filter(pk=pk, mail_due_at=lease).update(mail_due_at=due_again)


def _mails(change: EmailChange, now: datetime) -> list[tuple[str, str, str, bool]]:
    """Return each mail of a change: the field that marks it, its template, to whom, and whether."""
    asked = change.source == EmailChange.Source.OWNER
    told = change.confirmed_at is not None
    return [
        ("link_sent_at", "email_link", change.email, change.is_open(now)),
        ("warned_at", "email_asked", change.previous_email, asked and change.is_open(now)),
        ("told_at", "email_changed", change.previous_email, told),
    ]


def _next_try(change: EmailChange, *, now: datetime) -> datetime | None:
    since = change.confirmed_at or change.created_at
    pause = max(operations.LEASE, now - since)  # as long again: 1, 2, 4 … minutes
    if now + pause < since + TRIED_FOR:
        return now + pause
    logger.error("mail_given_up", tenant_id=change.org_id)
    return None


def _send(change: EmailChange, template: str, address: str) -> None:
    organization = Organization.objects.get(org_id=change.org_id)
    path = reverse("portal-email", args=[link_token(change)])
    context = {
        "name": organization.name,
        "email": change.email,
        "source": change.source,
        "link": f"{settings.PUBLIC_URL}{path}" if template == "email_link" else "",
        "hours": int(settings.EMAIL_LINK_LIFE.total_seconds() // 3600),
    }
    text = render_to_string(f"mail/{template}.txt", context)
    send_mail(_SUBJECTS[template], text, settings.DEFAULT_FROM_EMAIL, [address])
