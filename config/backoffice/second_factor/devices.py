"""Who has a second factor, and what ends when that changes."""

from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils.crypto import constant_time_compare

from config.contract import clock

logger = structlog.get_logger("metergate.backoffice")


def device_of(user: Any) -> Any:
    """Return the device of a user, a TOTPDevice; None where they have none."""
    if not settings.STAFF_MFA:
        return None
    from django_otp.plugins.otp_totp.models import TOTPDevice

    return TOTPDevice.objects.filter(user_id=user.pk, confirmed=True).first()


def matches(user: Any, code: str) -> Any:
    """Return the device that shows `code` now; None for a wrong or used one.

    Each failure makes the next try wait twice as long, whoever tries.
    """
    import django_otp

    return django_otp.match_token(user, code.replace(" ", ""))


def new_device(user: User, key: str) -> Any:
    """Return a device that is not stored yet. `key` is hexadecimal."""
    from django_otp.plugins.otp_totp.models import TOTPDevice

    return TOTPDevice(user=user, name="authenticator app", key=key, confirmed=True)


def new_key() -> str:
    """Return a new secret for an authenticator app, hexadecimal."""
    from django_otp.plugins.otp_totp.models import default_key

    key: str = default_key()
    return key


def confirm(user: User, key: str, code: str, *, session_key: str | None) -> bool:
    """Store the device if it shows `code`, and end the user's other sessions; tells whether."""
    device = new_device(user, key)
    with transaction.atomic():
        # Stored by the check, if it succeeds; unstored, its failures count for nobody.
        forget(user)
        device.save()
        if not device.verify_token(code.replace(" ", "")):
            transaction.set_rollback(True)
            return False
    end_other_sessions(user, session_key)
    logger.info("second_factor_set_up", who=f"staff:{user.pk}")
    return True


def forget(user: User) -> bool:
    """Take a user's second factor away; tells whether there was one."""
    from django_otp.plugins.otp_totp.models import TOTPDevice

    gone, _ = TOTPDevice.objects.filter(user=user).delete()
    return bool(gone)


def end_other_sessions(user: User, session_key: str | None) -> None:
    """End the sessions of a user that were begun with the password alone, but for one."""
    for session in Session.objects.filter(expire_date__gt=clock.real_now()).iterator():
        if session.session_key != session_key and constant_time_compare(
            str(session.get_decoded().get(SESSION_KEY)), str(user.pk)
        ):
            session.delete()
