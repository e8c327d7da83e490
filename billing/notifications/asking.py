"""The one e-mail to an address that was chosen: a link by which its reader agrees."""

from datetime import datetime
from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from billing import operations
from billing.models import Organization
from billing.notifications.addresses import link_token
from billing.notifications.models import NotificationAddress

logger = structlog.get_logger("metergate.notifications")
_SUBJECT = "Confirm this address for notices"


def due(*, now: datetime) -> list[int]:
    """Return the addresses that are to be asked now, oldest first. Real time."""
    waiting = NotificationAddress.objects.filter(mail_due_at__lte=now).order_by("mail_due_at")
    return list(waiting.values_list("pk", flat=True)[:100])


def send_due(pk: int, *, now: datetime) -> None:
    """Send an address its link, once. `now` is real time.

    A mail server that refuses is tried again, at growing distances, while the link is good;
    nothing is held while it thinks.
    """
    # One conditional UPDATE: the doorbell and the sweeper may both be here.
    lease = now + operations.LEASE
    rows = NotificationAddress.objects.filter(pk=pk)
    if not rows.filter(mail_due_at__lte=now).update(mail_due_at=lease):
        return
    address = rows.get()
    due_again = None
    if address.is_open(now):
        try:
            _send(address)
        except (SMTPException, OSError, ValueError) as error:
            # No text of the error: it quotes the address.
            logger.warning("mail_refused", tenant_id=address.org_id, error=type(error).__name__)
            due_again = now + max(operations.LEASE, now - address.created_at)  # as long again
        else:
            rows.update(link_sent_at=now)
    # Whatever became of it meanwhile stands: only our own lease is taken back.
    rows.filter(mail_due_at=lease).update(mail_due_at=due_again)


def _send(address: NotificationAddress) -> None:
    context = {
        "name": Organization.objects.get(org_id=address.org_id).name,
        "link": f"{settings.PUBLIC_URL}{reverse('portal-notices', args=[link_token(address)])}",
        "hours": int(settings.EMAIL_LINK_LIFE.total_seconds() // 3600),
    }
    text = render_to_string("mail/notices_link.txt", context)
    send_mail(_SUBJECT, text, settings.DEFAULT_FROM_EMAIL, [address.email])
