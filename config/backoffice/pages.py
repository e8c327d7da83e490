"""Middleware that is for people's pages, and that the hot routes do not pay for.

Sessions, users and messages serve cookies. The hot routes take a bearer token and
nothing else, and these three cost them a seventh of their time; every other request
goes through them as ever.
"""

from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest

_HOT = frozenset(f"/{route}" for route in settings.HOT_ROUTES)


def _is_hot(request: HttpRequest) -> bool:
    # Reading the ledger, at one of the same paths, is also for staff with a session.
    return request.path_info in _HOT and request.method == "POST"


class _NotHot:
    """Hands a hot route's request straight on."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if _is_hot(request):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class Sessions(_NotHot, SessionMiddleware):
    """`request.session`."""


class Users(_NotHot, AuthenticationMiddleware):
    """`request.user`, of a session."""


class Messages(_NotHot, MessageMiddleware):
    """`messages.success(...)` and the like."""
