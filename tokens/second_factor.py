"""Which second factor a member of staff has: what a staff token is bound to."""

from typing import Any

from django.conf import settings


def device_of(user: Any) -> Any:
    """Return the authenticator app of a user, a TOTPDevice; None where they have none."""
    if not settings.STAFF_MFA:
        return None
    from django_otp.plugins.otp_totp.models import TOTPDevice

    return TOTPDevice.objects.filter(user_id=user.pk, confirmed=True).first()


def factor_of(user: Any) -> str:
    """Return what tells a user's second factor from any other; empty where they have none."""
    device = device_of(user)
    return "" if device is None else str(device.persistent_id)
