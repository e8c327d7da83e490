"""Middleware that is for people's pages, and that the hot routes do not pay for.

Sessions, users and messages serve cookies. The hot routes take a bearer token and
nothing else, and these three cost them a seventh of their time; every other request
goes through them as ever.
"""

from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from config.backoffice import sessions

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
    """`request.user`, of a session that goes on (config.backoffice.sessions).

    Pages lead who still has to set a second factor up to where that is done; to the API
    they are nobody.
    """

    def process_request(self, request: Any) -> Any:
        """Say who it is when somebody asks, or lead elsewhere."""
        request.user = SimpleLazyObject(partial(sessions.user_of, request))
        request.auser = sync_to_async(partial(getattr, request, "user"))
        if _is_behind_the_log_in(request) and sessions.must_prove(request):
            return HttpResponseRedirect(reverse("second-factor"))
        return None


def _is_behind_the_log_in(request: HttpRequest) -> bool:
    path = request.path_info
    return path.startswith("/admin/") and path not in (*sessions.halfway(), reverse("admin:login"))


class Messages(_NotHot, MessageMiddleware):
    """`messages.success(...)` and the like."""
