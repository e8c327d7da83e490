"""Rate limits: exact where Valkey counts them, still there where it is away."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import structlog
from django.conf import settings
from django.http import HttpRequest
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from config.contract.errors import Throttled
from config.contract.views import http
from tokens.principals import Principal

logger = structlog.get_logger("metergate.throttle")


class AddressThrottle(BaseThrottle):
    """So many requests of one address; counted in Valkey for all processes together."""

    setting: str

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request. Raises Throttled beyond the limit."""
        notation: str = getattr(settings, self.setting)
        if notation:
            hit(_item(notation), self.setting, client_address(http(request)))
        return True


class SignUpThrottle(AddressThrottle):
    """Sign-ups per address."""

    setting = "THROTTLE_SIGNUP"


class TokenThrottle(AddressThrottle):
    """Activations and refreshes per address."""

    setting = "THROTTLE_TOKENS"


class AdminTokenThrottle(AddressThrottle):
    """Staff log-ins per address."""

    setting = "THROTTLE_ADMIN_TOKEN"


class HotThrottle(BaseThrottle):
    """Requests per second of one organisation, in this process: no round trip."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request. Raises Throttled beyond the limit."""
        notation: str = settings.THROTTLE_HOT
        if not notation:
            return True
        item = _item(notation)
        limiter = _local_limiter()
        org_id = cast(Principal, request.user).org_id
        if not limiter.hit(item, "hot", org_id):
            raise Throttled(_wait(limiter, item, "hot", org_id))
        return True


def client_address(request: HttpRequest) -> str:
    """Return the address of the client.

    `X-Forwarded-For` counts only for as many proxies as the setting says are
    ours, from the right: what stands further left a client can write itself.
    """
    peer = str(request.META.get("REMOTE_ADDR") or "unknown")
    if not settings.TRUSTED_PROXIES:
        return peer
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    hops = [hop for hop in hops if hop]
    if len(hops) < settings.TRUSTED_PROXIES:
        return peer
    hop: str = hops[-settings.TRUSTED_PROXIES]
    return hop


def hit(item: RateLimitItem, *identifiers: str) -> None:
    """Count one hit. Raises Throttled beyond the limit; Valkey away is no reason to fail."""
    limiter = _shared_limiter()
    try:
        allowed = limiter.hit(item, *identifiers)
        wait: Callable[[], int] = lambda: _wait(limiter, item, *identifiers)  # noqa: E731
    except (RedisError, StorageError, OSError) as error:
        logger.warning("throttle_fallback", error=type(error).__name__)
        local = _local_limiter()
        allowed = local.hit(item, *identifiers)
        wait = lambda: _wait(local, item, *identifiers)  # noqa: E731
    if not allowed:
        raise Throttled(wait())


def _wait(limiter: FixedWindowRateLimiter, item: RateLimitItem, *identifiers: str) -> int:
    try:
        return int(limiter.get_window_stats(item, *identifiers).reset_time - time.time()) + 1
    except (RedisError, StorageError, OSError):
        return item.get_expiry()


@cache
def _item(notation: str) -> RateLimitItem:
    return parse(notation)


@cache
def _shared_limiter() -> FixedWindowRateLimiter:
    url = settings.VALKEY_URL
    scheme = "redis+unix" if url.startswith("unix://") else ""
    location = f"{scheme}{url[4:]}" if scheme else url
    storage = storage_from_string(
        location,
        socket_timeout=settings.COPY_TIMEOUT,
        socket_connect_timeout=settings.COPY_TIMEOUT,
    )
    return FixedWindowRateLimiter(cast(Storage, storage))


@cache
def _local_limiter() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(MemoryStorage())
