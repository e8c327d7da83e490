"""Rate limits: exact where Valkey counts them, still there where it is away."""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
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
            hit(_item(notation), self.setting, household(address_of(http(request).META)))
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
        caller = cast(Principal, request.user)
        if not caller.is_operator:
            # An operator names its organisation in the body: tokens.permissions counts it.
            count_hot(caller.org_id)
        return True


def count_email_link(org_id: str, email: str) -> None:
    """Count one e-mail that an organisation has sent to an address, for both. Raises Throttled."""
    address = hashlib.sha256(email.strip().lower().encode(errors="surrogatepass")).hexdigest()
    for setting, whose in (
        ("THROTTLE_EMAIL_LINKS", org_id),
        ("THROTTLE_LINKS_PER_ADDRESS", address),
    ):
        notation: str = getattr(settings, setting)
        if notation:
            hit(_item(notation), setting, whose)


def count_stripe_page(org_id: str) -> None:
    """Count one SetupIntent or page of Stripe's made for an organisation. Raises Throttled."""
    notation: str = settings.THROTTLE_STRIPE_PAGES
    if notation:
        hit(_item(notation), "THROTTLE_STRIPE_PAGES", org_id)


def count_portal_link(org_id: str) -> None:
    """Count one link to the usage page made for an organisation. Raises Throttled."""
    notation: str = settings.THROTTLE_PORTAL_LINKS
    if notation:
        hit(_item(notation), "THROTTLE_PORTAL_LINKS", org_id)


class SlowCount:
    """Failures over a long time, under a setting's limit; a success does not forget them."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def add(self, key: str) -> None:
        """Count one failure of `key`."""
        with suppress(Throttled):
            hit(self._item(), self.setting, key)

    def wait(self, key: str) -> int:
        """Return for how many seconds `key` is shut out; 0 where it is not."""
        for limiter in (_shared_limiter(), _local_limiter()):
            try:
                if not limiter.test(self._item(), self.setting, key):
                    return _wait(limiter, self._item(), self.setting, key)
            except (RedisError, StorageError, OSError) as error:
                logger.warning("throttle_fallback", error=type(error).__name__)
        return 0

    def forget(self, key: str) -> None:
        """Begin to count `key` anew."""
        for limiter in (_shared_limiter(), _local_limiter()):
            limiter.clear(self._item(), self.setting, key)

    def _item(self) -> RateLimitItem:
        notation: str = getattr(settings, self.setting)
        return _item(notation)


def count_opening(request: HttpRequest) -> None:
    """Count one use of a link's button by an address. Raises Throttled beyond the limit."""
    notation: str = settings.THROTTLE_TOKENS
    if notation:
        hit(_item(notation), "LINKS", household(client_address(request)))


def count_hot(org_id: str) -> None:
    """Count one request of an organisation on a hot route. Raises Throttled beyond the limit."""
    notation: str = settings.THROTTLE_HOT
    if not notation:
        return
    item = _item(notation)
    limiter = _local_limiter()
    if not limiter.hit(item, "hot", org_id):
        raise Throttled(_wait(limiter, item, "hot", org_id))


def client_address(request: HttpRequest) -> str:
    """Return the IP address of the client."""
    return address_of(request.META)


def address_of(meta: Mapping[str, Any]) -> str:
    """Return the IP address of the client, from a WSGI environment.

    `X-Forwarded-For` counts only for as many proxies as the setting says are
    ours, from the right: what stands further left a client can write itself.
    """
    peer = str(meta.get("REMOTE_ADDR") or "unknown")
    if not settings.TRUSTED_PROXIES:
        return peer
    hops = meta.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if len(hops) < settings.TRUSTED_PROXIES:
        return peer
    address = _parsed(hops[-settings.TRUSTED_PROXIES])
    return peer if address is None else str(address)


def _parsed(hop: str) -> IPv4Address | IPv6Address | None:
    # Some proxies write the port of the client behind its address.
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return ip_address(hop)
    except ValueError:
        return None


def household(address: str) -> str:
    """Return what an address counts as: who has one of IPv6 has 2^64 of them, which are one."""
    parsed = _parsed(address)
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))


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
