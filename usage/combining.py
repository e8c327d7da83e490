"""Single uses of one organisation that wait for each other are counted together.

A counter's row stays locked until its commit is on disk, so the uses of a busy
organisation queue up behind it, one commit each. Here they queue in the process
instead: whoever finds nobody at work counts its own at once, and whoever comes
meanwhile is taken along by the next call, in order of arrival. One at a time
nothing changes and nothing waits.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from config.contract import clock
from config.contract.errors import ApiError, Unavailable
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded

logger = structlog.get_logger("metergate.usage")

#: The most that one call takes along.
_MOST = 100
#: Seconds after which whoever was taken along gives up: far beyond every time-out
#: of the call that it waits for.
_PATIENCE = 20.0


@dataclass(slots=True, eq=False)
class _Use:
    """One use, from its arrival to its outcome."""

    event: NewUsageEvent
    #: For whoever has to wait.
    woken: threading.Event | None = None
    outcome: Recorded | None = None
    #: Set on whoever is to make the next call: all that it counts, itself first.
    group: "Sequence[_Use]" = ()


_lock = threading.Lock()
#: Organisations somebody is counting for, and who waits there.
_waiting: dict[str, list[_Use]] = {}


def record_one(*, org_id: str, event: NewUsageEvent) -> Recorded:
    """Count one use, with others of the organisation that wait at the same time.

    Returns and raises what `ledger.record` does for it; decided as of the moment
    of the call that counts it. A denial is noted by whoever it denies, under the
    ids of its own request.
    """
    mine = _Use(event)
    with _lock:
        queue = _waiting.get(org_id)
        if queue is None:
            _waiting[org_id] = []
            mine.group = (mine,)
        else:
            mine.woken = threading.Event()
            queue.append(mine)
    if mine.woken is not None and not mine.woken.wait(_PATIENCE):
        _give_up(org_id, mine)
    if mine.group:
        try:
            _count(org_id, mine.group)
        finally:
            _hand_over(org_id)
            for one in mine.group[1:]:
                _wake(one)
    if mine.outcome is None:
        # Whoever counted for us was told no; a repeat is safe, as for them.
        raise Unavailable
    ledger.note_denial(org_id, event, mine.outcome, clock.now())
    return mine.outcome


def waiting_for(org_id: str) -> int:
    """Return how many wait for somebody who counts for an organisation now."""
    with _lock:
        return len(_waiting.get(org_id, ()))


def _wake(one: _Use) -> None:
    if one.woken is not None:
        one.woken.set()


def _give_up(org_id: str, mine: _Use) -> None:
    """Leave the queue. Raises Unavailable unless it is our turn after all."""
    with _lock:
        queue = _waiting.get(org_id, [])
        if mine in queue:
            queue.remove(mine)
        if not mine.group:
            raise Unavailable


def _hand_over(org_id: str) -> None:
    """Let the first who waits count for all who wait."""
    with _lock:
        queue = _waiting[org_id]
        if not queue:
            del _waiting[org_id]
            return
        next_one = queue[0]
        next_one.group, _waiting[org_id] = queue[:_MOST], queue[_MOST:]
    _wake(next_one)


def _count(org_id: str, group: Sequence[_Use]) -> None:
    events = [one.event for one in group]
    try:
        outcomes = ledger.count(org_id=org_id, events=events, now=clock.now())
    except ApiError:
        raise
    except Exception as error:
        if len(group) == 1:
            raise
        # What one of them cannot be counted for must not fail the others.
        logger.exception("combined_failed", error=type(error).__name__, uses=len(group))
        for one in group[1:]:
            _count_alone(org_id, one)
        outcomes = ledger.count(org_id=org_id, events=events[:1], now=clock.now())
    for one, outcome in zip(group, outcomes, strict=False):
        one.outcome = outcome


def _count_alone(org_id: str, one: _Use) -> None:
    try:
        [one.outcome] = ledger.count(org_id=org_id, events=[one.event], now=clock.now())
    except Exception as error:
        logger.exception("use_failed", error=type(error).__name__)
