"""Bodies, read within a cap, a time and a rate, while no thread waits for them."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import structlog

logger = structlog.get_logger("metergate.edge")

#: A body may take the reader's seconds, and one more for each so many bytes of it.
BYTES_PER_SECOND = 64 * 1024
#: How many pieces a body may come in: each costs us more than its bytes.
MOST_CHUNKS = 4096
#: Bytes that may be on their way to this process at once, and of one caller's.
ON_THEIR_WAY = 128 * 1024 * 1024
ON_THEIR_WAY_OF_ONE = 32 * 1024 * 1024
#: How often it is looked for those that are late, in seconds.
_LOOK = 0.25


@dataclass(eq=False, slots=True)
class Reading:
    """One body on its way. Ends once: whole, late, too large, or with the client gone."""

    reader: "Reader"
    proto: Any
    caller: Hashable
    cap: int
    length: int | None
    ended: Callable[[bytes], None]
    failed: Callable[[str], None]
    due_at: float = 0.0
    future: Any = None
    chunks: int = 0
    received: bytearray = field(default_factory=bytearray)

    @property
    def promised(self) -> int:
        """Bytes to reckon with."""
        return self.cap if self.length is None else self.length

    def begin(self) -> None:
        """Start to read."""
        self.due_at = time.monotonic() + self.reader.seconds + (self.length or 0) / BYTES_PER_SECOND
        if self.length is None:
            self.proto.__aiter__()
            self._await_chunk()
        else:
            future = self.future = self.proto()
            future.add_done_callback(self._whole)

    def give_up(self) -> None:
        """End it: it is late."""
        future = self.future
        if self._is_first_to_end():
            if future is not None:
                future.cancel()
            self.failed("late")

    def _is_first_to_end(self) -> bool:
        # The future holds this one, which must not hold it: no collector sees through granian.
        self.future = None
        return self.reader.forget(self)

    def _whole(self, future: Any) -> None:
        if not self._is_first_to_end():
            return
        try:
            body: bytes = future.result()
        except Exception:  # noqa: BLE001 - whatever it was, the body did not come
            self.failed("broken")
            return
        self.ended(body)

    def _await_chunk(self) -> None:
        future = self.future = self.proto.__anext__()
        future.add_done_callback(self._chunk)

    def _chunk(self, future: Any) -> None:
        if future.cancelled():
            return
        try:
            chunk: bytes = future.result()
        except Exception:  # noqa: BLE001 - as above
            self._end("broken")
            return
        if not chunk:
            self._end(None if self._is_at_end() else "broken")
            return
        self.received += chunk
        self.chunks += 1
        if len(self.received) > self.cap or self.chunks > MOST_CHUNKS:
            self._end("large")
            return
        self.due_at += len(chunk) / BYTES_PER_SECOND
        self._await_chunk()

    def _is_at_end(self) -> bool:
        # An empty chunk is also how a connection that broke looks. After a sound end,
        # and only then, there is no next one.
        try:
            self.proto.__anext__()
        except StopAsyncIteration:
            return True
        return False

    def _end(self, reason: str | None) -> None:
        if not self._is_first_to_end():
            return
        if reason is None:
            self.ended(bytes(self.received))
        else:
            self.failed(reason)


class Reader:
    """All bodies on their way to this process, and the thread that ends those that are late."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._readings: dict[Reading, None] = {}
        self._promised: Counter[Hashable] = Counter()
        self._total = 0

    def start(self) -> None:
        """Begin to look for late ones."""
        threading.Thread(target=self._watch, name="edge-bodies", daemon=True).start()

    def read(
        self,
        proto: Any,
        *,
        caller: Hashable,
        length: int | None,
        cap: int,
        ended: Callable[[bytes], None],
        failed: Callable[[str], None],
    ) -> None:
        """Read a body; None as its length means that it comes in chunks.

        Calls `ended` with all of it, or `failed` with `late`, `large`, `broken` (the
        client is gone) or `memory` (too much is on its way): one of them, once, from
        any thread.
        """
        reading = Reading(self, proto, caller, cap, length, ended, failed)
        size = reading.promised
        with self._lock:
            has_room = (
                self._total + size <= ON_THEIR_WAY
                and self._promised[caller] + size <= ON_THEIR_WAY_OF_ONE
            )
            if has_room:
                self._readings[reading] = None
                self._promised[caller] += size
                self._total += size
        if has_room:
            reading.begin()
        else:
            failed("memory")

    def forget(self, reading: Reading) -> bool:
        """Tell whether it was still on its way; it no longer is. One caller hears yes."""
        with self._lock:
            if self._readings.pop(reading, reading) is not None:
                return False
            self._total -= reading.promised
            self._promised[reading.caller] -= reading.promised
            if not self._promised[reading.caller]:
                del self._promised[reading.caller]
        return True

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK)
            now = time.monotonic()
            with self._lock:
                late = [reading for reading in self._readings if reading.due_at < now]
            for reading in late:
                try:
                    reading.give_up()
                except Exception:  # noqa: BLE001 - one of them must not end the watch
                    logger.exception("body_not_given_up")
