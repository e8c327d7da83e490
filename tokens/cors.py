"""CORS: a browser may call from the domains that have a live installation or an unused code.

That a domain may call is remembered for seconds per process, so that a page that
meters every click does not cost a query each time. That one may not is never
remembered: it may have got its first code just now.
"""

import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from config.contract import clock
from tokens import domains
from tokens.models import ActivationCode, TokenFamily

EXPOSED = (
    "Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed, x-request-id, x-correlation-id"
)
_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
_HEADERS = (
    "authorization, content-type, idempotency-key, x-request-id, x-correlation-id, traceparent"
)
#: Seconds for which a domain is remembered, and how many are.
_REMEMBERED_FOR = 5.0
_MOST_REMEMBERED = 10_000
_PREFLIGHT_SECONDS = "600"

#: Domain → when it was found to be somebody's, by the monotonic clock.
_remembered: dict[str, float] = {}
_lock = threading.Lock()


class CorsMiddleware:
    """Answers preflights and marks answers under /api."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith("/api/"):
            return self.get_response(request)
        origin = request.META.get("HTTP_ORIGIN")
        preflight = (
            request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META
        )
        response = HttpResponse(status=204) if preflight else self.get_response(request)
        patch_vary_headers(response, ["Origin"])
        if origin is None:
            return response
        domain = domains.claimed(request)
        if domain is None or not may_call(domain):
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        if preflight:
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Allow-Headers"] = (
                f"{_HEADERS}, {settings.TENANT_HEADER}"
            )
            response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
        return response


def may_call(domain: str) -> bool:
    """Tell whether pages of a (normalised) domain may call at all. Unknown means no."""
    found_at = _remembered.get(domain)
    if found_at is not None and time.monotonic() - found_at < _REMEMBERED_FOR:
        return True
    try:
        allowed = _is_live(domain)
    except Error:
        # CORS grants nothing that the token does not: what was so stays so.
        return found_at is not None
    with _lock:
        _remembered.pop(domain, None)
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        if allowed:
            _remembered[domain] = time.monotonic()
    return allowed


def forget_domains() -> None:
    """Ask again for every domain (tests)."""
    _remembered.clear()


def _is_live(domain: str) -> bool:
    now = clock.real_now()
    return (
        TokenFamily.objects.filter(domain=domain, revoked_at=None, expires_at__gt=now).exists()
        or ActivationCode.objects.filter(
            domain=domain, used_at=None, revoked_at=None, expires_at__gt=now
        ).exists()
    )
