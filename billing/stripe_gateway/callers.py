"""How many pieces of work may wait for Stripe in one process, and whose turn it is.

A request that asks Stripe holds a thread while Stripe answers, and so does one that
waits for its turn. Both are bounded, below the threads of the process, so that quota
checks always find a thread; and both are bounded per organisation, so that nobody
takes all of it. Between these bounds callers queue: a healthy load is not refused.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from config.contract.errors import Unavailable

#: Whether this piece of work has its place: what it does inside needs no second one.
_placed: ContextVar[bool] = ContextVar("stripe_placed", default=False)


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """The bounds of one process.

    `at_once` pieces of work ask Stripe at the same time; `places` is how many ask or
    wait together; `wait_seconds` is how long one waits for its turn. Work for nobody
    known yet (a sign-up) counts as one organisation.
    """

    at_once: int
    at_once_per_org: int
    places: int
    places_per_org: int
    wait_seconds: float


@dataclass(eq=False, slots=True)
class _Turn:
    org_id: str | None
    came: threading.Event = field(default_factory=threading.Event)


class Callers:
    """The queue of one process: first come, first served, within each one's share."""

    def __init__(self, limits: CallerLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._placed: Counter[str | None] = Counter()
        self._asking: Counter[str | None] = Counter()
        self._waiting: deque[_Turn] = deque()

    @contextmanager
    def place(self, org_id: str | None) -> Iterator[None]:
        """Hold one of the places, for work that is going to wait. Inside of it, again for free.

        Raises Unavailable (503) where all are taken, or the organisation's share is.
        """
        if _placed.get():
            yield
            return
        with self._lock:
            limits, placed = self._limits, self._placed
            if placed.total() >= limits.places or placed[org_id] >= limits.places_per_org:
                raise Unavailable("The payment provider is being asked; try again")
            placed[org_id] += 1
        token = _placed.set(True)
        try:
            yield
        finally:
            _placed.reset(token)
            with self._lock:
                _take_off(placed, org_id)

    @contextmanager
    def turn(self, org_id: str | None) -> Iterator[None]:
        """Wait for a turn to ask Stripe, and hold it. Raises Unavailable (503) where none comes."""
        with self.place(org_id):
            turn = _Turn(org_id)
            with self._lock:
                self._waiting.append(turn)
                self._let_in()
            try:
                if not turn.came.wait(self._limits.wait_seconds):
                    raise Unavailable("The payment provider is being asked; try again")
                yield
            finally:
                with self._lock:
                    # It may have come between the end of the wait and this.
                    if turn.came.is_set():
                        _take_off(self._asking, org_id)
                    else:
                        self._waiting.remove(turn)
                    self._let_in()

    def placed(self, org_id: str | None) -> int:
        """Return how many places an organisation holds."""
        with self._lock:
            return self._placed[org_id]

    def _let_in(self) -> None:
        """Let in who may, in the order they came; those over their share are passed over."""
        limits, asking = self._limits, self._asking
        for turn in list(self._waiting):
            if asking.total() >= limits.at_once:
                return
            if asking[turn.org_id] < limits.at_once_per_org:
                self._waiting.remove(turn)
                asking[turn.org_id] += 1
                turn.came.set()


def _take_off(counter: Counter[str | None], org_id: str | None) -> None:
    counter[org_id] -= 1
    if not counter[org_id]:
        del counter[org_id]
