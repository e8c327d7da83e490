"""Denials as they are met: collected here, written down by a thread, never waited for.

An answer must not be slower because it is a no, and a client that is told no asks
again at once. So a denial costs its request a look into a dict; the rows are written
every `DENIAL_FLUSH` seconds, many denials at a time, and once more as the process ends.
A process that is killed loses those; the log line of each denial has the same numbers.
"""

import os
import threading
from datetime import datetime
from multiprocessing.util import Finalize

import psycopg
import structlog
from django.conf import settings

from config.contract import context, metrics
from config.contract.errors import Unavailable
from quotas import denial_rows
from quotas.denial_rows import DenialKey, DeniedUse, Tally
from quotas.denials import Numbers

logger = structlog.get_logger("metergate.denials")
#: What is held at most while the database is away: keys, and uses of all of them.
MOST_KEYS = 10_000
MOST_USES = 100_000
#: Seconds a process that ends waits for a thread that is writing.
_LAST_WAIT = 5.0


class DenialBook:
    """What this process denied and has not written down."""

    def __init__(self) -> None:
        self._start_afresh()
        os.register_at_fork(after_in_child=self._start_afresh)

    def _start_afresh(self) -> None:
        self._held: dict[DenialKey, Tally] = {}
        self._uses = 0
        self._dropped = 0
        self._lock = threading.Lock()
        # Held while rows are written: whoever ends the process waits for it.
        self._writing = threading.Lock()
        self._writer: threading.Thread | None = None
        self._last_will: Finalize | None = None

    def note(
        self,
        *,
        org_id: str,
        metric: str,
        code: str,
        value: int,
        now: datetime,
        door: str,
        decided_by: str,
        numbers: Numbers | None = None,
        version: int = 0,
        use_id: str = "",
    ) -> None:
        """Note one denial, and put its numbers on the log line of the request."""
        ids = structlog.contextvars.get_contextvars()
        use = DeniedUse(
            now,
            value,
            door,
            decided_by,
            ids.get("request_id") or "",
            ids.get("correlation_id") or "",
            use_id,
        )
        period = numbers.period if numbers else None
        tally = Tally(
            period_key=numbers.period_key if numbers else "",
            period_end=period.end if period else None,
            used=numbers.used if numbers else None,
            included=numbers.limit if numbers else None,
            first=use,
            last=use,
            uses=[use],
        )
        minute = now.replace(second=0, microsecond=0)
        start = period.start if period else None
        self._add(DenialKey(org_id, metric, minute, code, version, start), tally)
        context.tell_decision(
            code=code,
            metric=metric,
            value=value,
            used=tally.used,
            included=tally.included,
            period=tally.period_key,
            counter_version=version,
            decided_by=decided_by,
        )

    def flush(self) -> bool:
        """Write down what is held. False where the database would not take it: it is kept."""
        with self._writing:
            with self._lock:
                taken, self._held, self._uses = self._held, {}, 0
                dropped, self._dropped = self._dropped, 0
            if dropped:
                logger.error("denials_dropped", denials=dropped)
            if not taken:
                return True
            try:
                denial_rows.write(taken)
            except (Unavailable, psycopg.Error) as error:
                logger.warning("denials_kept", rows=len(taken), error=type(error).__name__)
                for key, tally in taken.items():
                    self._add(key, tally, write_soon=False)
                return False
            return True

    def discard(self) -> None:
        """Forget what is held (tests)."""
        with self._lock:
            self._held, self._uses, self._dropped = {}, 0, 0

    def _add(self, key: DenialKey, tally: Tally, *, write_soon: bool = True) -> None:
        with self._lock:
            held = self._held.get(key)
            if held is None:
                if len(self._held) >= MOST_KEYS:
                    self._dropped += tally.count
                    metrics.DENIALS_DROPPED.inc(tally.count)
                    return
                room = max(0, MOST_USES - self._uses)
                tally.uses = tally.uses[:room]
                self._held[key] = tally
                self._uses += len(tally.uses)
            else:
                self._merge(held, tally)
            if write_soon and settings.DENIAL_FLUSH:
                self._write_soon()

    def _merge(self, held: Tally, more: Tally) -> None:
        held.count += more.count
        if more.first.at < held.first.at:
            held.first = more.first
        if more.last.at >= held.last.at:
            held.last, held.used, held.included = more.last, more.used, more.included
        room = min(settings.DENIAL_REQUESTS - len(held.uses), MOST_USES - self._uses)
        fitting = more.uses[: max(0, room)]
        held.uses += fitting
        self._uses += len(fitting)

    def _write_soon(self) -> None:
        if self._last_will is None:
            # Also where a server forked this process: those skip atexit, and run this.
            self._last_will = Finalize(None, self._write_at_last, exitpriority=100)
        if self._writer is None or not self._writer.is_alive():
            self._writer = threading.Thread(target=self._keep_writing, name="denials", daemon=True)
            self._writer.start()

    def _keep_writing(self) -> None:
        """Write once in a while until nothing is left to write."""
        pause = threading.Event()
        while True:
            pause.wait(settings.DENIAL_FLUSH)
            self.flush()
            with self._lock:
                if not self._held:
                    # Under the lock: whoever is denied from here on starts a new thread.
                    self._writer = None
                    return

    def _write_at_last(self) -> None:
        if self._writing.acquire(timeout=_LAST_WAIT):
            self._writing.release()
        if not self.flush():
            with self._lock:
                lost = sum(tally.count for tally in self._held.values())
            logger.error("denials_lost", denials=lost)


book = DenialBook()
