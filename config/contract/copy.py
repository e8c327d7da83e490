"""The fast copy in Valkey of what PostgreSQL knows: absolute values, never increments.

One hash per organisation, key `o:{<org_id>}` (the braces keep it in one slot of
a cluster). Each field is a fixed-width order followed by a payload, and is
replaced only by a newer order, so that a slow publisher cannot undo a fast one.
The key lives `COPY_TTL` from its making; a missing field means *unknown,
ask the database*, never *allowed* and never *not revoked*.

A command may lie in the socket of a Valkey that hangs, and be run long after its
sender gave up. So each publish carries the time, by Valkey's own clock, after
which it must do nothing; what was not taken is sent again by the sender.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import redis
import structlog
from django.conf import settings

from config.contract import metrics
from config.contract.copy_publisher import ORDER_WIDTH, Field, Publisher, Where, key_of
from config.contract.wire import Wire

logger = structlog.get_logger("metergate.copy")

#: Seconds for which requests leave Valkey alone after it did not answer.
BREAKER_SECONDS = 0.5
#: Seconds between two tries of the background thread. Shorter than the breaker,
#: so that while Valkey is away it is this thread that waits, and no request.
_TRY_SECONDS = 0.4
#: Organisations published together: well within the time that a command may take.
_AT_ONCE = 100
#: Organisations whose unsent fields are kept. Of more, those go that waited longest:
#: copies that lack them have expired, unless Valkey's clock stood still.
_MOST_DIRTY = 50_000


class _Unsent(NamedTuple):
    """A field that Valkey did not take, and when it was known to be the newest."""

    field: Field
    known_at: float


class OrgCopy:
    """Reads and publishes organisations' copies; never raises because Valkey is away."""

    def __init__(self, url: str) -> None:
        self._wire = Wire(url)
        self._publisher = Publisher(self._wire)
        self._broken_until = 0.0
        #: By organisation and name; who published last stands last.
        self._dirty: dict[str, dict[str, _Unsent]] = {}
        # Guards the dirty set, and the birth and death of the thread that empties it.
        self._tending = threading.Lock()
        self._tender: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def is_broken(self) -> bool:
        """Whether Valkey failed and has not answered since."""
        return time.monotonic() < self._broken_until

    def trouble(self) -> str:
        """Return what is wrong with Valkey now, as the rest of a sentence, or nothing."""
        try:
            # Read by nobody. A server that is full, a replica, or cannot save refuses it.
            self._wire.ask("SET", "probe", "", "PX", 1000)
        except redis.ResponseError:
            return "refuses writes"
        except redis.RedisError:
            return "does not answer"
        return ""

    def read(self, org_id: str) -> dict[str, bytes] | None:
        """Return all fields of an organisation; None when there is no copy to trust."""
        if self.is_broken or org_id in self._dirty:
            # What this process could not publish, it knows to be stale.
            return None
        try:
            held: list[bytes] = self._wire.ask("HGETALL", key_of(org_id))
        except redis.RedisError as error:
            self._failed("read", error)
            return None
        pairs = zip(held[::2], held[1::2], strict=True)
        return {name.decode(errors="replace"): value[ORDER_WIDTH:] for name, value in pairs} or None

    def publish(self, org_id: str, fields: Sequence[Field]) -> bool:
        """Publish what was committed. Returns False when Valkey did not take it.

        What it did not take is kept, and sent when Valkey answers again. By then a
        newer publish of another process may have been lost: once a copy made of
        these fields would have expired, they only replace what is older.
        """
        known_at = time.monotonic()
        if not self.is_broken and self._try(org_id, fields, known_at=known_at):
            return True
        self._remember(org_id, fields, known_at=known_at)
        return False

    def publish_many(self, fields: Mapping[str, Sequence[Field]]) -> None:
        """Publish what was committed of many organisations, for what is not missed where it fails.

        Nothing is retried: the caller's fields must replace nothing that a reader
        could still take for the truth.
        """
        orgs = list(fields)
        for n in range(0, len(orgs), _AT_ONCE):
            if self.is_broken:
                return
            some = {org_id: fields[org_id] for org_id in orgs[n : n + _AT_ONCE]}
            try:
                self._publisher.publish_many(some, known_at=time.monotonic())
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
        if time.monotonic() < read_at + settings.COPY_TTL and not self.is_broken:
            where = Where.BESIDE if had_copy else Where.ANYWHERE
            self._try(org_id, fields, known_at=read_at, where=where)

    def forget(self, org_id: str) -> None:
        """Drop an organisation's copy (tests, restore)."""
        try:
            self._wire.ask("DEL", key_of(org_id))
        except redis.RedisError as error:
            self._failed("forget", error)

    def close(self) -> None:
        """Give up what is not sent, and close the connections."""
        self._closing.set()
        self._wire.close()

    def _try(
        self,
        org_id: str,
        fields: Iterable[Field],
        *,
        known_at: float,
        where: Where = Where.ANYWHERE,
    ) -> bool:
        try:
            return self._publisher.publish(org_id, fields, known_at=known_at, where=where)
        except redis.RedisError as error:
            self._failed("publish", error)
            return False

    def _failed(self, what: str, error: redis.RedisError) -> None:
        metrics.COPY_FAILURES.labels(what).inc()
        if not self.is_broken:
            logger.warning("copy_failed", what=what, error=type(error).__name__)
        self._broken_until = time.monotonic() + BREAKER_SECONDS
        with self._tending:
            self._tend_from_now_on()

    def _remember(self, org_id: str, fields: Iterable[Field], *, known_at: float) -> None:
        with self._tending:
            unsent = self._dirty[org_id] = self._dirty.pop(org_id, {})
            for field in fields:
                older = unsent.get(field.name)
                if older is None or older.field.packed() < field.packed():
                    unsent[field.name] = _Unsent(field, known_at)
            while len(self._dirty) > _MOST_DIRTY:
                del self._dirty[next(iter(self._dirty))]
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
            with suppress(redis.RedisError):
                self._publisher.meet()
                if self._send_dirty():
                    return

    def _send_dirty(self) -> bool:
        """Send what is dirty. Returns True when nothing is left and this thread's work is done."""
        with self._tending:
            todo = {org_id: dict(unsent) for org_id, unsent in self._dirty.items()}
        for org_id, unsent in todo.items():
            if not self._send(org_id, unsent.values()):
                return False
            with self._tending:
                # What was added meanwhile stays for the next round.
                if self._dirty.get(org_id) == unsent:
                    del self._dirty[org_id]
        with self._tending:
            if self._dirty:
                return False
            # Under the lock: whoever finds something dirty from here on starts a new thread.
            self._tender = None
            self._broken_until = 0.0
            return True

    def _send(self, org_id: str, unsent: Iterable[_Unsent]) -> bool:
        """Send what one organisation's copy lacks. Returns whether Valkey took it."""
        expired = time.monotonic() - settings.COPY_TTL
        newest = [one for one in unsent if one.known_at > expired]
        late = [one.field for one in unsent if one.known_at <= expired]
        if newest and not self._try(
            org_id,
            [one.field for one in newest],
            known_at=min(one.known_at for one in newest),
        ):
            return False
        return not late or self._try(org_id, late, known_at=expired, where=Where.OVER)
