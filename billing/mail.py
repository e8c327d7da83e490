"""What owners are told by e-mail."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from billing.models import Operation


def send_owners_code(operation: Operation, *, code: str) -> None:
    """Send the one-time code of a sign-up to the address it was made with."""
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
