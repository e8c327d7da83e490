"""How long a log-in at the pages lasts, and whom it lets in.

A session ends when nothing was asked for `STAFF_SESSION_IDLE`, and `STAFF_SESSION_LIFE`
after the log-in whatever was asked. Where staff need a second factor, a session that began
without one lets nobody in: it may only set one up.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest
from django.urls import reverse

from config.contract import clock

#: Keys of a session; instants are real time, in whole seconds since 1970.
_BEGAN_AT, _SEEN_AT, _PROVED = "began_at", "seen_at", "second_factor"
#: Being seen is written down this often in an idle time, not at each request.
_STEPS = 30


def begin(*, request: HttpRequest, user: Any, **_: Any) -> None:
    """Let a session begin, as somebody has logged in (Django's `user_logged_in`)."""
    session = request.session
    session.pop(_PROVED, None)
    if getattr(user, "second_factor", None) is not None:
        prove(session)
    now = clock.real_now()
    session[_BEGAN_AT] = int(now.timestamp())
    _see(session, now=now)
    left = getattr(user, "recovery_codes_left", None)
    if left is not None:
        text = f"You logged in with a recovery code. Of those you have {left} left."
        messages.warning(request, text, fail_silently=True)


def prove(session: SessionBase) -> None:
    """Note that a second factor was shown in this session."""
    session[_PROVED] = True


def disprove(session: SessionBase) -> None:
    """Note that the second factor shown in this session is none any more."""
    session.pop(_PROVED, None)


def user_of(request: HttpRequest) -> AbstractBaseUser | AnonymousUser:
    """Return who a request's session lets in; notes that they were seen."""
    user = _logged_in(request)
    if user.is_authenticated and _lacks_proof(request) and request.path_info not in halfway():
        return AnonymousUser()
    return user


def must_prove(request: HttpRequest) -> bool:
    """Tell whether somebody logged in with a password alone where that is not enough."""
    return (
        settings.STAFF_MFA_REQUIRED
        and _logged_in(request).is_authenticated
        and _lacks_proof(request)
    )


def _lacks_proof(request: HttpRequest) -> bool:
    return settings.STAFF_MFA_REQUIRED and not request.session.get(_PROVED)


def halfway() -> tuple[str, str]:
    """Return the pages for who has shown the password and no second factor yet."""
    return reverse("second-factor"), reverse("admin:logout")


def _logged_in(request: Any) -> AbstractBaseUser | AnonymousUser:
    if not hasattr(request, "_logged_in"):
        request._logged_in = _look_up(request)
    user: AbstractBaseUser | AnonymousUser = request._logged_in
    return user


def _look_up(request: HttpRequest) -> AbstractBaseUser | AnonymousUser:
    user = get_user(request)
    if not user.is_authenticated:
        return user
    session, now = request.session, clock.real_now()
    if _BEGAN_AT not in session:  # begun before sessions said when
        session[_BEGAN_AT] = int(now.timestamp())
    if _left(session, now=now) <= 0:
        session.flush()
        return AnonymousUser()
    if now.timestamp() - session.get(_SEEN_AT, 0) >= _idle() / _STEPS:
        _see(session, now=now)
    return user


def _see(session: SessionBase, *, now: datetime) -> None:
    session[_SEEN_AT] = int(now.timestamp())
    # What ends an idle session is its row's own end, which Django looks at.
    session.set_expiry(max(1, min(_idle(), _left(session, now=now))))


def _left(session: SessionBase, *, now: datetime) -> int:
    """Return the seconds until the last end of a session."""
    life = int(settings.STAFF_SESSION_LIFE.total_seconds())
    return int(session[_BEGAN_AT] + life - now.timestamp())


def _idle() -> int:
    return int(settings.STAFF_SESSION_IDLE.total_seconds())
