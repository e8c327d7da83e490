"""Locking guessers out of the staff log-in: page and API alike.

django-axes decides; here is where it counts, and what the locked-out see.
"""

from contextlib import suppress
from typing import Any

import structlog
from axes.handlers.cache import AxesCacheHandler
from axes.helpers import get_cache_timeout
from django.contrib import admin
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_redis import get_redis_connection  # type: ignore[import-untyped]
from redis.exceptions import RedisError

from config.contract.errors import Throttled
from config.contract.responses import error_response

logger = structlog.get_logger("metergate.lockout")


class FailureCounts:
    """Failed log-ins by key: in Valkey, and while that is away in this process.

    Speaks as much of Django's cache as axes needs. The cache itself will not do:
    it answers None where Valkey is away, and axes would compare None with a number.
    """

    def __init__(self) -> None:
        self._here = LocMemCache("lockout", {"MAX_ENTRIES": 10_000})

    def get(self, key: str, default: int = 0) -> int:
        """Return the failures. Those of an outage still count when Valkey is back."""
        try:
            there = int(self._valkey().get(_name(key)) or default)
        except RedisError:
            there = default
        return there + self._counted_here(key)

    def add(self, key: str, value: int, timeout: int) -> bool:
        """Begin to count. False where a count is running."""
        if self._counted_here(key):
            return False
        try:
            return bool(self._valkey().set(_name(key), value, nx=True, ex=timeout))
        except RedisError:
            return self._here.add(key, value, timeout)

    def incr(self, key: str, delta: int = 1) -> int:
        """Count on, and return the count."""
        try:
            return int(self._valkey().incrby(_name(key), delta)) + self._counted_here(key)
        except RedisError:
            # Valkey may have gone since `add`.
            self._here.add(key, 0, get_cache_timeout())
            return self._here.incr(key, delta)

    def touch(self, key: str, timeout: int) -> None:
        """Let the count live as long again."""
        self._here.touch(key, timeout)
        with suppress(RedisError):
            self._valkey().expire(_name(key), timeout)

    def delete(self, key: str) -> bool:
        """Forget the count."""
        forgot = self._here.delete(key)
        with suppress(RedisError):
            forgot = bool(self._valkey().delete(_name(key))) or forgot
        return forgot

    def _counted_here(self, key: str) -> int:
        return int(self._here.get(key, 0))

    @staticmethod
    def _valkey() -> Any:
        return get_redis_connection("default")


class LockoutHandler(AxesCacheHandler):  # type: ignore[misc]
    """Axes, counting where it is safe to count."""

    def __init__(self) -> None:
        self.cache = FailureCounts()


def locked_out(
    request: HttpRequest, original_response: HttpResponse, credentials: Any
) -> HttpResponse:
    """Answer the locked-out: the envelope under /api, a page elsewhere. Both 429."""
    route = request.resolver_match.route if request.resolver_match else "unknown"
    logger.warning("staff_locked_out", route=route)
    seconds = get_cache_timeout(request) or 0
    if request.path_info.startswith("/api/"):
        return error_response(request, Throttled(seconds))
    context = {
        **admin.site.each_context(request),
        "title": "Locked out",
        "minutes": seconds // 60,
    }
    response = render(request, "admin/locked_out.html", context, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response


def _name(key: str) -> str:
    return f"lockout:{key}"
