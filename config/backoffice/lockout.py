"""Locking guessers out of the staff log-in: page and API alike.

django-axes decides; here is where it counts, and what the locked-out see.
"""

import hashlib
from contextlib import suppress
from typing import Any

import structlog
from axes.handlers.cache import AxesCacheHandler
from axes.helpers import get_cache_timeout, get_client_username
from django.contrib import admin
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_redis import get_redis_connection  # type: ignore[import-untyped]
from redis.exceptions import RedisError

from config.contract.errors import Throttled
from config.contract.responses import error_response
from tokens import log_ins
from tokens.models import StaffLogIn
from tokens.throttles import SlowCount, client_address, household

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
        return get_redis_connection("valkey")


#: Who tries slowly, or from many addresses, or many names, is beyond the quick count's sight.
_BY_NAME = SlowCount("STAFF_FAILURES_PER_NAME")
_BY_ADDRESS = SlowCount("STAFF_FAILURES_PER_ADDRESS")


class LockoutHandler(AxesCacheHandler):  # type: ignore[misc]
    """Axes, counting where it is safe to count, and writing each log-in and failure down.

    Besides axes' count of a name from an address there are two slow ones: of a name
    across addresses, and of an address across names. They end by themselves or by
    `manage.py axes_reset_username` and `axes_reset_ip`; a log-in does not end them.
    """

    def __init__(self) -> None:
        self.cache = FailureCounts()

    def is_locked(self, request: HttpRequest, credentials: Any = None) -> bool:
        """Tell whether one of the three counts is full."""
        if super().is_locked(request, credentials):
            return True
        request.lockout_seconds = _slow_wait(request, credentials)  # type: ignore[attr-defined]
        return request.lockout_seconds > 0  # type: ignore[attr-defined, no-any-return]

    def user_login_failed(
        self, sender: Any, credentials: Any, request: Any = None, **more: Any
    ) -> None:
        """Count a failure and write it down, and that it shut the door where it did.

        Tries while it is shut are neither: they were not looked at.
        """
        if request is None or self.is_locked(request, credentials):
            super().user_login_failed(sender, credentials, request, **more)
            if request is not None:
                request.axes_locked_out = True
            return
        username = get_client_username(request, credentials) or ""
        _BY_NAME.add(_hashed(username))
        _BY_ADDRESS.add(household(client_address(request)))
        log_ins.note(request, StaffLogIn.Outcome.FAILED, username=username)
        super().user_login_failed(sender, credentials, request, **more)
        if self.is_locked(request, credentials):
            request.axes_locked_out = True
            log_ins.note(request, StaffLogIn.Outcome.LOCKED_OUT, username=username)

    def user_logged_in(self, sender: Any, request: Any, user: Any, **more: Any) -> None:
        """Write a log-in at the page down (the API's is written by tokens.staff)."""
        super().user_logged_in(sender, request, user, **more)
        # Django keeps the session where the same person logs in again.
        request.session.cycle_key()
        log_ins.note(
            request,
            StaffLogIn.Outcome.LOGGED_IN,
            username=user.get_username(),
            user_id=user.pk,
        )

    def reset_attempts(
        self,
        *,
        ip_address: str | None = None,
        username: str | None = None,
        ip_or_username: bool = False,
    ) -> int:
        """Open the door again for a name or an address: at the command line."""
        if username is not None:
            _BY_NAME.forget(_hashed(username))
        if ip_address is not None:
            _BY_ADDRESS.forget(household(ip_address))
        count: int = super().reset_attempts(
            ip_address=ip_address, username=username, ip_or_username=ip_or_username
        )
        return count


def _slow_wait(request: HttpRequest, credentials: Any) -> int:
    username = get_client_username(request, credentials) or ""
    return max(
        _BY_NAME.wait(_hashed(username)), _BY_ADDRESS.wait(household(client_address(request)))
    )


def _hashed(username: str) -> str:
    return hashlib.sha256(username.encode(errors="surrogatepass")).hexdigest()


def locked_out(
    request: HttpRequest, original_response: HttpResponse, credentials: Any
) -> HttpResponse:
    """Answer the locked-out: the envelope under /api, a page elsewhere. Both 429."""
    route = request.resolver_match.route if request.resolver_match else "unknown"
    logger.warning("staff_locked_out", route=route)
    seconds = getattr(request, "lockout_seconds", 0) or get_cache_timeout(request) or 0
    if request.path_info.startswith("/api/"):
        return error_response(request, Throttled(seconds))
    context = {
        **admin.site.each_context(request),
        "title": "Locked out",
        "minutes": -(-seconds // 60),
    }
    response = render(request, "admin/locked_out.html", context, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response


def _name(key: str) -> str:
    return f"lockout:{key}"
