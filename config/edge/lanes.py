"""Who may run now, who waits, and who is sent away.

A lane has so many slots. A request that finds one free runs at once: in the thread
that brought it, or in one of the lane's own, where what it does may take long.
Otherwise it waits in its caller's own queue, and whoever frees a slot takes the
next: that of the caller who has used the least time so far. What a request costs
is what it took, so a batch of a thousand, a statement or a long list weighs what
it weighs, and no table of costs can be wrong.

No caller holds all slots, nor do all strangers (callers without a verified token)
together: what is slow for one leaves room for the others. A crowd, that is a caller
with many more waiting, also rests between two of its requests for as long as the last
one took, while anybody else calls: slots are not all that callers share.
"""

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from config.contract import metrics

#: Callers remembered although they neither run nor wait, so that who used much is not new again.
_MOST_REMEMBERED = 10_000
#: So many of one caller waiting are a crowd. Fewer make it rest for what sending large
#: answers costs.
CROWD = 16
FEW = 3
#: Whoever called within so many seconds is calling.
_RECENT_SECONDS = 1.0
#: What sending an answer costs beside making it: processor time of other threads and of the
#: kernel. And the longest rest between two requests, in seconds.
_BYTES_PER_SECOND = 25_000_000
_LONGEST_REST = 0.25
_SHORTEST_REST = 0.001


class Job(Protocol):
    """A request that has arrived whole."""

    @property
    def caller(self) -> Hashable:
        """Whose share it uses."""

    @property
    def is_stranger(self) -> bool:
        """Whether nobody vouches for that."""

    @property
    def size(self) -> int:
        """Bytes it holds while it waits."""

    def run(self) -> int:
        """Answer it; returns the bytes of the answer. Raises nothing."""

    def refuse(self, reason: str) -> None:
        """Answer it that there is no room. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one lane takes: in requests, in bytes of waiting bodies, and in seconds."""

    name: str
    slots: int
    #: Of a caller whose token was let in, of one stranger, and of all strangers together.
    slots_of_one: int
    slots_of_stranger: int
    slots_of_strangers: int
    waiting: int = 1024
    waiting_of_one: int = 256
    waiting_bytes: int = 64 * 1024 * 1024
    seconds: float = 10.0
    #: Whether it has a thread for each slot, or uses those that bring its requests.
    has_threads: bool = False


class Neighbours:
    """Who called last, in any lane of the process. Needs no lock: at worst a crowd rests once."""

    __slots__ = ("_latest", "_latest_at", "_other_at")

    def __init__(self) -> None:
        self._latest: Hashable = None
        self._latest_at = self._other_at = float("-inf")

    def saw(self, caller: Hashable) -> None:
        """Note that somebody calls."""
        if caller != self._latest:
            self._latest, self._other_at = caller, self._latest_at
        self._latest_at = time.monotonic()

    def has(self, caller: Hashable) -> bool:
        """Tell whether anybody else is calling."""
        at = self._other_at if caller == self._latest else self._latest_at
        return time.monotonic() - at < _RECENT_SECONDS


class _Caller:
    __slots__ = ("is_stranger", "most", "queue", "ranked", "running", "used")

    def __init__(self, is_stranger: bool, limits: Limits) -> None:
        self.is_stranger = is_stranger
        self.most = limits.slots_of_stranger if is_stranger else limits.slots_of_one
        self.used = 0.0
        self.running = 0
        self.ranked = False
        self.queue: deque[tuple[Job, float]] = deque()


class Lane:
    """Slots for requests of one kind."""

    def __init__(
        self, limits: Limits, neighbours: Neighbours, *, rest: Callable[[float], None] = time.sleep
    ) -> None:
        self.limits = limits
        self._neighbours = neighbours
        self._rest = rest
        self._threads = (
            ThreadPoolExecutor(limits.slots, thread_name_prefix=f"edge-{limits.name}")
            if limits.has_threads
            else None
        )
        self._waited = metrics.WAITED.labels(limits.name)
        self._lock = threading.Lock()
        self._callers: dict[Hashable, _Caller] = {}
        #: Those with something waiting that could start, by time used: known callers, strangers.
        self._ranks: tuple[list[tuple[float, int, _Caller]], ...] = ([], [])
        self._order = itertools.count()
        #: The time used that a new caller starts with: that of the last one served.
        self._level = 0.0
        self._running = 0
        self._strangers = 0
        self._waiting = 0
        self._bytes = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting

    def submit(self, job: Job) -> None:
        """Run the job now, or let it wait, or refuse it. Whoever runs goes on with who waits."""
        reason = None
        self._neighbours.saw(job.caller)
        with self._lock:
            caller = self._caller_of(job)
            starts = self._running < self.limits.slots and self._may_start(caller)
            if starts:
                self._start(caller)
            else:
                reason = self._no_room_for(job, caller)
                if reason is None:
                    self._enqueue(job, caller)
        if starts:
            if self._threads is None:
                self._work(job, caller)
            else:
                self._threads.submit(self._work, job, caller)
        elif reason is not None:
            job.refuse(reason)

    def _work(self, job: Job, caller: _Caller) -> None:
        while True:
            began = time.monotonic()
            sent = job.run()
            seconds = time.monotonic() - began
            late: list[Job] = []
            with self._lock:
                self._finish(caller, seconds)
                following = self._next(late)
                has_room = self._running < self.limits.slots
            for overdue in late:
                overdue.refuse("waited")
            if following is None:
                return
            job, goes_on = following
            if goes_on is caller and len(caller.queue) >= FEW and has_room:
                self._let_others_live(job.caller, caller, seconds=seconds, sent=sent)
            caller = goes_on

    def _let_others_live(
        self, key: Hashable, caller: _Caller, *, seconds: float, sent: int
    ) -> None:
        """Rest in the caller's own slot, while there is another for whoever comes."""
        rest = sent / _BYTES_PER_SECOND
        if len(caller.queue) >= CROWD:
            rest += seconds
        if rest >= _SHORTEST_REST and self._neighbours.has(key):
            self._rest(min(rest, _LONGEST_REST))

    def _caller_of(self, job: Job) -> _Caller:
        caller = self._callers.get(job.caller)
        if caller is None:
            if len(self._callers) >= _MOST_REMEMBERED:
                self._callers = {
                    key: one for key, one in self._callers.items() if one.running or one.queue
                }
            caller = self._callers[job.caller] = _Caller(job.is_stranger, self.limits)
        if not caller.running and not caller.queue:
            # Idle time is not saved up: it gives no right to crowd out the others later.
            caller.used = max(caller.used, self._level)
        return caller

    def _may_start(self, caller: _Caller) -> bool:
        return caller.running < caller.most and (
            not caller.is_stranger or self._strangers < self.limits.slots_of_strangers
        )

    def _start(self, caller: _Caller) -> None:
        self._running += 1
        caller.running += 1
        self._strangers += caller.is_stranger
        self._level = max(self._level, caller.used)

    def _finish(self, caller: _Caller, seconds: float) -> None:
        self._running -= 1
        caller.running -= 1
        self._strangers -= caller.is_stranger
        caller.used += seconds
        self._rank(caller)

    def _no_room_for(self, job: Job, caller: _Caller) -> str | None:
        if len(caller.queue) >= self.limits.waiting_of_one:
            return "share"
        if self._waiting >= self.limits.waiting:
            return "queue"
        if self._bytes + job.size > self.limits.waiting_bytes:
            return "memory"
        return None

    def _enqueue(self, job: Job, caller: _Caller) -> None:
        self._waiting += 1
        self._bytes += job.size
        caller.queue.append((job, time.monotonic()))
        self._rank(caller)

    def _rank(self, caller: _Caller) -> None:
        # Each caller stands in its heap once; who holds all it may hold does not stand there.
        if caller.queue and not caller.ranked and caller.running < caller.most:
            caller.ranked = True
            entry = (caller.used, next(self._order), caller)
            heapq.heappush(self._ranks[caller.is_stranger], entry)

    def _next(self, late: list[Job]) -> tuple[Job, _Caller] | None:
        too_old = time.monotonic() - self.limits.seconds
        while (caller := self._least_served()) is not None:
            job, since = caller.queue.popleft()
            self._waiting -= 1
            self._bytes -= job.size
            if since < too_old:
                late.append(job)
                self._rank(caller)
                continue
            self._waited.observe(time.monotonic() - since)
            self._start(caller)
            self._rank(caller)
            return job, caller
        return None

    def _least_served(self) -> _Caller | None:
        known, strangers = self._ranks
        while True:
            heap = known
            if strangers and self._strangers < self.limits.slots_of_strangers:
                heap = strangers if not known or strangers[0] < known[0] else known
            if not heap:
                return None
            used, _, caller = heapq.heappop(heap)
            caller.ranked = False
            if used < caller.used:
                # It has used more since it was ranked.
                self._rank(caller)
            elif caller.queue and caller.running < caller.most:
                return caller
