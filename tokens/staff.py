"""Staff tokens: a password for ten minutes of the staff routes."""

from datetime import datetime

from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest

from config.contract.errors import Forbidden, Unauthenticated
from tokens import jwt, log_ins
from tokens.authentication import lacks_factor, staff_family
from tokens.models import StaffLogIn
from tokens.principals import ANY_ORG

Outcome = StaffLogIn.Outcome


def staff_token(
    *, request: HttpRequest, username: str, password: str, now: datetime, otp: str | None = None
) -> str:
    """Return a staff token; `otp` is the code, or a recovery code, of who has a second factor.

    Raises Unauthenticated, the same for a wrong password and a wrong code; axes
    counts the failures and locks out. Raises Forbidden for who has no second factor
    where all of staff need one: it is set up at the page.
    """
    user = authenticate(request, username=username, password=password, otp_token=otp or "")
    if user is None or not getattr(user, "is_staff", False):
        raise Unauthenticated("The log-in is not valid")
    # What was shown here and now, not what is stored: it may be set up this very moment.
    factor = str(getattr(user, "second_factor", None) or "")
    outcome = Outcome.FAILED if lacks_factor(factor) else Outcome.LOGGED_IN
    log_ins.note(request, outcome, username=user.get_username(), user_id=user.pk)
    if lacks_factor(factor):
        raise Forbidden("Set a second factor up first, in the back office")
    return jwt.mint(
        subject=f"staff:{user.pk}",
        org=ANY_ORG,
        scopes=[],
        domain="",
        family_id=staff_family(user, factor),
        audience=settings.STAFF_AUDIENCE,
        now=now,
    )
