"""Who has a second factor, and what ends when that changes."""

from typing import Any

import structlog
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils.crypto import constant_time_compare

from config.backoffice.second_factor import recovery
from config.contract import clock
from tokens.second_factor import device_of

logger = structlog.get_logger("metergate.backoffice")


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


def confirm(user: User, key: str, code: str, *, session_key: str | None) -> list[str] | None:
    """Store the device if it shows `code`, and end the user's other sessions.

    Returns the recovery codes, which are shown once; None where nothing was stored.
    """
    device = new_device(user, key)
    with transaction.atomic():
        # A double click sets one up: the second waits, finds it, and changes nothing.
        User.objects.select_for_update().get(pk=user.pk)
        if device_of(user) is not None:
            return None
        # Stored by the check, if it succeeds; unstored, its failures count for nobody.
        device.save()
        if not device.verify_token(code.replace(" ", "")):
            transaction.set_rollback(True)
            return None
        codes = recovery.renew(user, now=clock.real_now())
    end_other_sessions(user, session_key)
    logger.info("second_factor_set_up", who=f"staff:{user.pk}")
    return codes


def remove(user: User, *, session_key: str | None = None) -> bool:
    """Take a user's second factor and recovery codes away; tells whether there was one.

    Ends their sessions, which were begun with it, but for the one of `session_key`. Staff
    tokens end by themselves: they are bound to it.
    """
    if not forget(user):
        return False
    end_other_sessions(user, session_key)
    return True


def forget(user: User) -> bool:
    """Delete a user's second factor and recovery codes; tells whether there was one."""
    from django_otp.plugins.otp_totp.models import TOTPDevice

    recovery.forget(user)
    gone, _ = TOTPDevice.objects.filter(user=user).delete()
    return bool(gone)


def end_other_sessions(user: User, session_key: str | None) -> None:
    """End the sessions of a user, but for one."""
    for session in Session.objects.filter(expire_date__gt=clock.real_now()).iterator():
        if session.session_key != session_key and constant_time_compare(
            str(session.get_decoded().get(SESSION_KEY)), str(user.pk)
        ):
            session.delete()
