"""The fast copy in Valkey of what PostgreSQL knows: absolute values, never increments.

One hash per organisation, key `o:{<org_id>}` (the braces keep it in one slot of
a cluster). Each field is a fixed-width order followed by a payload, and is
replaced only by a newer order, so that a slow publisher cannot undo a fast one.
The key lives `COPY_TTL` from its making; a missing field means *unknown,
ask the database*, never *allowed* and never *not revoked*.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.contract import metrics

logger = structlog.get_logger("metergate.copy")

ORDER_WIDTH = 44
#: Seconds for which a process leaves Valkey alone after it did not answer.
BREAKER_SECONDS = 0.5

# Fields only if newer. The key's life starts when it is made and nothing
# prolongs it: a field whose publish was lost must die in time.
_PUBLISH = """
local width = tonumber(ARGV[1])
local life = tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  if not held or string.sub(held, 1, width) < string.sub(ARGV[i + 1], 1, width) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], life)
end
return 1
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One field to publish. The higher `(epoch, major, minor)` wins."""

    name: str
    epoch: int
    major: int
    minor: int
    payload: bytes

    def packed(self) -> bytes:
        """Return the order, sortable as text, and the payload."""
        return b"%08d%018d%018d" % (self.epoch, self.major, self.minor) + self.payload


def unpack(value: bytes) -> bytes:
    """Return the payload of a stored field."""
    return value[ORDER_WIDTH:]


class OrgCopy:
    """Reads and publishes organisations' copies; never raises because Valkey is away."""

    def __init__(self, url: str) -> None:
        self._client: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=settings.COPY_TIMEOUT,
            socket_connect_timeout=settings.COPY_TIMEOUT,
            # A retry would make a request wait twice; the next one asks again.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        self._publish = self._client.register_script(_PUBLISH)
        self._broken_until = 0.0
        self._dirty: dict[str, dict[str, Field]] = {}
        self._dirty_lock = threading.Lock()
        self._retrier: threading.Thread | None = None

    @property
    def is_broken(self) -> bool:
        """Whether Valkey failed within the last half second."""
        return time.monotonic() < self._broken_until

    def ping(self) -> bool:
        """Tell whether Valkey answers now."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def read(self, org_id: str) -> dict[str, bytes] | None:
        """Return all fields of an organisation; None when there is no copy to trust."""
        if self.is_broken or (self._dirty and org_id in self._dirty):
            # What this process could not publish, it knows to be stale.
            return None
        try:
            # The client is made without decode_responses: bytes in, bytes out.
            held = cast("dict[bytes, bytes]", self._client.hgetall(_key(org_id)))
        except redis.RedisError as error:
            self._failed("read", error)
            return None
        return {name.decode(): unpack(value) for name, value in held.items()} or None

    def publish(self, org_id: str, fields: Sequence[Field]) -> bool:
        """Publish what was committed. Returns False when Valkey did not take it.

        What it did not take is retried in the background until it does, or until
        every copy that lacks it must have expired by itself.
        """
        if not self.is_broken and self._try(org_id, fields, life=settings.COPY_TTL):
            return True
        self._remember(org_id, fields)
        return False

    def fill(self, org_id: str, fields: Sequence[Field], *, read_at: float) -> None:
        """Publish what was read from the database because the copy did not have it.

        `read_at` is `time.monotonic()` from before the read: a key made here
        lives from then, since what changed after it may be missing.
        """
        life = settings.COPY_TTL - (time.monotonic() - read_at)
        if life > 0 and not self.is_broken:
            self._try(org_id, fields, life=life)

    def forget(self, org_id: str) -> None:
        """Drop an organisation's copy (tests, restore)."""
        try:
            self._client.delete(_key(org_id))
        except redis.RedisError as error:
            self._failed("forget", error)

    def _try(self, org_id: str, fields: Iterable[Field], *, life: float) -> bool:
        arguments: list[bytes | int | str] = [ORDER_WIDTH, max(1, int(life * 1000))]
        for field in fields:
            arguments += (field.name, field.packed())
        try:
            self._publish(keys=[_key(org_id)], args=arguments)
        except redis.RedisError as error:
            self._failed("publish", error)
            return False
        return True

    def _failed(self, what: str, error: redis.RedisError) -> None:
        self._broken_until = time.monotonic() + BREAKER_SECONDS
        metrics.COPY_FAILURES.labels(what).inc()
        logger.warning("copy_failed", what=what, error=type(error).__name__)

    def _remember(self, org_id: str, fields: Iterable[Field]) -> None:
        with self._dirty_lock:
            held = self._dirty.setdefault(org_id, {})
            for field in fields:
                older = held.get(field.name)
                if older is None or older.packed() < field.packed():
                    held[field.name] = field
            if self._retrier is None or not self._retrier.is_alive():
                self._retrier = threading.Thread(
                    target=self._retry_dirty, name="copy-retry", daemon=True
                )
                self._retrier.start()

    def _retry_dirty(self) -> None:
        # By then a copy that was seeded before the failure has expired, even if
        # Valkey never took what we have.
        give_up = time.monotonic() + settings.COPY_TTL + 1
        while self._dirty and time.monotonic() < give_up:
            time.sleep(BREAKER_SECONDS)
            for org_id, fields in list(self._dirty.items()):
                if self.is_broken:
                    break
                sent = dict(fields)
                if self._try(org_id, sent.values(), life=settings.COPY_TTL):
                    with self._dirty_lock:
                        if self._dirty.get(org_id) == sent:
                            self._dirty.pop(org_id, None)
        with self._dirty_lock:
            if time.monotonic() >= give_up:
                self._dirty.clear()
            self._retrier = None


def _key(org_id: str) -> str:
    return f"o:{{{org_id}}}"
