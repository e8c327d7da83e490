"""Staff tokens: a password for ten minutes of the staff routes."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest

from config.contract.errors import Unauthenticated
from tokens import jwt, log_ins
from tokens.authentication import staff_family
from tokens.models import StaffLogIn
from tokens.principals import ANY_ORG

LOGGED_IN = StaffLogIn.Outcome.LOGGED_IN


def staff_token(
    *, request: HttpRequest, username: str, password: str, now: datetime, otp: str | None = None
) -> str:
    """Return a staff token; `otp` is the code of an account with a second factor.

    Raises Unauthenticated, the same for a wrong password and a wrong code; axes
    counts the failures and locks out.
    """
    user = authenticate(request, username=username, password=password, otp_token=otp or "")
    if user is None or not getattr(user, "is_staff", False):
        raise Unauthenticated("The log-in is not valid")
    log_ins.note(request, LOGGED_IN, username=user.get_username(), user_id=user.pk)
    return jwt.mint(
        subject=f"staff:{user.pk}",
        org=ANY_ORG,
        scopes=[],
        domain="",
        family_id=staff_family(user),
        audience=settings.STAFF_AUDIENCE,
        now=now,
    )
