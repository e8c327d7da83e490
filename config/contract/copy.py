"""The fast copy in Valkey of what PostgreSQL knows: absolute values, never increments.

One hash per organisation, key `o:{<org_id>}` (the braces keep it in one slot of
a cluster). Each field is a fixed-width order followed by a payload, and is
replaced only by a newer order, so that a slow publisher cannot undo a fast one.
The key lives `COPY_TTL` from its making; a missing field means *unknown,
ask the database*, never *allowed* and never *not revoked*.
"""

import hashlib
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import redis
import structlog
from django.conf import settings

from config.contract import metrics
from config.contract.wire import Wire

logger = structlog.get_logger("metergate.copy")

ORDER_WIDTH = 44
#: Seconds for which requests leave Valkey alone after it did not answer.
BREAKER_SECONDS = 0.5
#: Seconds between two tries of the background thread. Shorter than the breaker,
#: so that while Valkey is away it is this thread that waits, and no request.
_TRY_SECONDS = 0.4
#: Organisations published together: well within the time that a command may take.
_AT_ONCE = 100

# Fields only if newer. The key's life starts when it is made and nothing
# prolongs it: a field whose publish was lost must die in time.
_PUBLISH = """
local width = tonumber(ARGV[1])
local life = tonumber(ARGV[2])
if ARGV[3] == 'beside' then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > life + 5 then  -- the clocks of both sides tick in milliseconds
    return 0
  end
end
for i = 4, #ARGV, 2 do
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
_PUBLISH_SHA = hashlib.sha1(_PUBLISH.encode(), usedforsecurity=False).hexdigest()


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


@dataclass(slots=True)
class _Unsent:
    """What Valkey did not take of one organisation, and until when that matters."""

    fields: dict[str, Field]
    until: float


class OrgCopy:
    """Reads and publishes organisations' copies; never raises because Valkey is away."""

    def __init__(self, url: str) -> None:
        self._wire = Wire(url)
        self._broken_until = 0.0
        self._dirty: dict[str, _Unsent] = {}
        # Guards the dirty set, and the birth and death of the thread that empties it.
        self._tending = threading.Lock()
        self._tender: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def is_broken(self) -> bool:
        """Whether Valkey failed and has not answered since."""
        return time.monotonic() < self._broken_until

    def ping(self) -> bool:
        """Tell whether Valkey answers now."""
        try:
            return bool(self._wire.ask("PING") == b"PONG")
        except redis.RedisError:
            return False

    def read(self, org_id: str) -> dict[str, bytes] | None:
        """Return all fields of an organisation; None when there is no copy to trust."""
        if self.is_broken or org_id in self._dirty:
            # What this process could not publish, it knows to be stale.
            return None
        try:
            held: list[bytes] = self._wire.ask("HGETALL", _key(org_id))
        except redis.RedisError as error:
            self._failed("read", error)
            return None
        pairs = zip(held[::2], held[1::2], strict=True)
        return {name.decode(errors="replace"): value[ORDER_WIDTH:] for name, value in pairs} or None

    def publish(self, org_id: str, fields: Sequence[Field]) -> bool:
        """Publish what was committed. Returns False when Valkey did not take it.

        What it did not take is retried in the background until it does, or until
        every copy that lacks it must have expired by itself.
        """
        if not self.is_broken and self._try(org_id, fields, life=settings.COPY_TTL):
            return True
        self._remember(org_id, fields)
        return False

    def publish_many(self, fields: Mapping[str, Sequence[Field]]) -> None:
        """Publish what was committed of many organisations, for what is not missed where it fails.

        Nothing is retried: the caller's fields must replace nothing that a reader
        could still take for the truth.
        """
        asked = [
            ("EVALSHA", _PUBLISH_SHA, *self._arguments(org_id, found, life=settings.COPY_TTL))
            for org_id, found in fields.items()
        ]
        for n in range(0, len(asked), _AT_ONCE):
            if self.is_broken:
                return
            try:
                answers = self._wire.ask_all(asked[n : n + _AT_ONCE])
                if any(isinstance(one, redis.exceptions.NoScriptError) for one in answers):
                    self._wire.ask("SCRIPT", "LOAD", _PUBLISH)
                    self._wire.ask_all(asked[n : n + _AT_ONCE])
            except redis.RedisError as error:
                self._failed("publish", error)

    def fill(
        self, org_id: str, fields: Sequence[Field], *, read_at: float, had_copy: bool = False
    ) -> None:
        """Publish what was read from the database because the copy did not have it.

        `read_at` is `time.monotonic()` from before the read: a key made here
        lives from then, since what changed after it may be missing. With
        `had_copy` it goes only into a key from before that read: the one that was
        there may have taken a newer publish into its grave since, and ours would
        come back as the truth.
        """
        life = settings.COPY_TTL - (time.monotonic() - read_at)
        if life > 0 and not self.is_broken:
            self._try(org_id, fields, life=life, only_beside=had_copy)

    def forget(self, org_id: str) -> None:
        """Drop an organisation's copy (tests, restore)."""
        try:
            self._wire.ask("DEL", _key(org_id))
        except redis.RedisError as error:
            self._failed("forget", error)

    def close(self) -> None:
        """Give up what is not sent, and close the connections."""
        self._closing.set()
        self._wire.close()

    def _try(
        self, org_id: str, fields: Iterable[Field], *, life: float, only_beside: bool = False
    ) -> bool:
        arguments = self._arguments(org_id, fields, life=life, only_beside=only_beside)
        try:
            try:
                self._wire.ask("EVALSHA", _PUBLISH_SHA, *arguments)
            except redis.exceptions.NoScriptError:
                self._wire.ask("EVAL", _PUBLISH, *arguments)
        except redis.RedisError as error:
            self._failed("publish", error)
            return False
        return True

    @staticmethod
    def _arguments(
        org_id: str, fields: Iterable[Field], *, life: float, only_beside: bool = False
    ) -> list[bytes | int | str]:
        arguments: list[bytes | int | str] = [
            1,
            _key(org_id),
            ORDER_WIDTH,
            max(1, int(life * 1000)),
            "beside" if only_beside else "anywhere",
        ]
        for field in fields:
            arguments += (field.name, field.packed())
        return arguments

    def _failed(self, what: str, error: redis.RedisError) -> None:
        metrics.COPY_FAILURES.labels(what).inc()
        if not self.is_broken:
            logger.warning("copy_failed", what=what, error=type(error).__name__)
        self._broken_until = time.monotonic() + BREAKER_SECONDS
        with self._tending:
            self._tend_from_now_on()

    def _remember(self, org_id: str, fields: Iterable[Field]) -> None:
        # By then every copy that lacks these fields has expired by itself.
        until = time.monotonic() + settings.COPY_TTL + 1
        with self._tending:
            unsent = self._dirty.setdefault(org_id, _Unsent({}, until))
            unsent.until = until
            for field in fields:
                older = unsent.fields.get(field.name)
                if older is None or older.packed() < field.packed():
                    unsent.fields[field.name] = field
            self._tend_from_now_on()

    def _tend_from_now_on(self) -> None:
        if self._tender is None or not self._tender.is_alive():  # none survives a fork
            self._tender = threading.Thread(target=self._tend, name="copy-tender", daemon=True)
            self._tender.start()

    def _tend(self) -> None:
        """Ask Valkey until it answers and has taken all that is dirty, then end."""
        while not self._closing.wait(_TRY_SECONDS):
            # Before the ping: while it hangs, no request shall try its luck.
            self._broken_until = time.monotonic() + BREAKER_SECONDS
            if not self.ping():
                self._forget_expired()
            elif self._send_dirty():
                return

    def _send_dirty(self) -> bool:
        """Send what is dirty. Returns True when nothing is left and this thread's work is done."""
        with self._tending:
            todo = {org_id: dict(unsent.fields) for org_id, unsent in self._dirty.items()}
        for org_id, sent in todo.items():
            if not self._try(org_id, sent.values(), life=settings.COPY_TTL):
                return False
            with self._tending:
                # What was added meanwhile stays for the next round.
                if self._dirty[org_id].fields == sent:
                    del self._dirty[org_id]
        with self._tending:
            if self._dirty:
                return False
            # Under the lock: whoever finds something dirty from here on starts a new thread.
            self._tender = None
            self._broken_until = 0.0
            return True

    def _forget_expired(self) -> None:
        with self._tending:
            for org_id, unsent in list(self._dirty.items()):
                if unsent.until < time.monotonic():
                    del self._dirty[org_id]


def _key(org_id: str) -> str:
    return f"o:{{{org_id}}}"
