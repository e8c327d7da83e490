"""Proof that the counts are right: each column of each counter against its rows, and the copy.

Any difference between rows and counter is a bug by design.
"""

import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from config.contract.clients import clients
from quotas import snapshots
from quotas.models import Entitlement, UsageCounter
from usage import books, repairs
from usage.books import Books, Events, Key, Voids, key_of

_PAGE = 500
#: A page is one snapshot. Where it is open for longer, the next page is smaller.
_PAGE_SECONDS = 5.0
#: So long may the sample's snapshot of one organisation be open, and the whole sample take.
_SAMPLE_SECONDS, _SAMPLES_SECONDS = 3.0, 30.0
#: So many differences are named; the rest are counted.
_MOST_NAMED = 1_000
Value = int | bool | str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """One column of one counter that is not what its rows make it, or rows that cannot be so."""

    org_id: str
    metric: str
    period_key: str
    what: str
    counter: Value
    rows: Value

    @property
    def by(self) -> int | None:
        """Return by how many units the counter is off, where it is a number that is."""
        found, right = self.counter, self.rows
        if isinstance(found, bool) or not isinstance(found, int) or not isinstance(right, int):
            return None
        return found - right

    def __str__(self) -> str:
        off = "" if self.by is None else f" ({self.by:+d})"
        where = f"{self.org_id} {self.metric} {self.period_key}"
        return f"{where}: {self.what} is {self.counter}, its rows say {self.rows}{off}"


@dataclass(slots=True)
class Reconciled:
    """What was checked so far, and what differed. Of many differences the first are named."""

    organisations: int = 0
    counters: int = 0
    equal: int = 0
    events: int = 0
    drifted: int = 0
    repaired: int = 0
    #: Organisations that a sample had not the time for.
    skipped: int = 0
    drifts: list[Drift] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "drifts": [{**asdict(one), "by": one.by} for one in self.drifts]}

    def note(self, found: list[Drift]) -> None:
        """Add differences."""
        self.drifted += len(found)
        self.drifts += found[: _MOST_NAMED - len(self.drifts)]


def reconcile(
    *,
    now: datetime,
    org_ids: Collection[str] = (),
    repair_as: str | None = None,
) -> Iterator[Reconciled]:
    """Compare every counter (or those of some organisations) with its rows and its copy.

    Yields running totals after each page; memory is bounded by one. With
    `repair_as` (who repairs) what the rows prove is set back under the counter's
    lock, with a CounterRepair row for each counter.
    """
    done = Reconciled()
    last, size = "", _PAGE
    while page := _page_after(last, org_ids, size):
        last = page[-1]
        started = time.monotonic()
        read = books.read(page, closed_too=True)
        took = time.monotonic() - started
        if took > _PAGE_SECONDS:
            size = max(1, size // 2)
        elif took < _PAGE_SECONDS / 4:
            size = min(_PAGE, size * 2)
        found = _compare(page, read, now=now, closed_too=True, done=done)
        if repair_as is not None:
            for key in sorted({key for key, drifts in found.items() if drifts}):
                done.repaired += repairs.repair(key, who=repair_as, now=now)
        yield done
    yield done


def sample(*, now: datetime, organisations: int) -> Reconciled:
    """Check what is not closed of some organisations, chosen at random.

    Each in a snapshot of its own that is soon over, so that no counter waits for it to be
    cleaned up behind; one whose books are too large for that is skipped.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT org_id FROM quotas_entitlement ORDER BY random() LIMIT %s", [organisations]
        )
        chosen = [row[0] for row in cursor.fetchall()]
    done = Reconciled()
    until = time.monotonic() + _SAMPLES_SECONDS
    for number, org_id in enumerate(chosen):
        if time.monotonic() > until:
            done.skipped += len(chosen) - number
            break
        try:
            read = books.read([org_id], closed_too=False, seconds=_SAMPLE_SECONDS)
        except books.TookTooLong:
            done.skipped += 1
            continue
        _compare([org_id], read, now=now, closed_too=False, done=done)
    return done


def _page_after(last: str, org_ids: Collection[str], size: int) -> list[str]:
    if org_ids:
        return [org_id for org_id in sorted(org_ids) if org_id > last][:size]
    return books.organisations_after(last, page=size)


def _compare(
    org_ids: list[str], read: Books, *, now: datetime, closed_too: bool, done: Reconciled
) -> dict[Key, list[Drift]]:
    """Compare one page; returns what differs by counter."""
    copies: dict[str, dict[str, bytes] | None] = {}
    found: dict[Key, list[Drift]] = {}
    for counter in read.counters:
        differences = list(_differences(counter, read))
        if counter.period_start <= now < counter.period_end:
            differences += _copy_differences(counter, read.epoch, copies)
        found[key_of(counter)] = [_drift(counter, *one) for one in differences]
    done.organisations += len(org_ids)
    done.counters += len(read.counters)
    done.equal += sum(not drifts for drifts in found.values())
    done.events += sum(one.events for one in read.events.values())
    if closed_too:
        # Of a sample only what is not closed was read: the others are not missing.
        for key in sorted(read.keys() - found.keys()):
            units = read.events.get(key, Events()).units
            found[key] = [Drift(key[0], key[1], key[2].isoformat(), "missing", None, units)]
    done.note([one for drifts in found.values() for one in drifts])
    return found


Difference = tuple[str, Value, Value]


def _differences(counter: UsageCounter, read: Books) -> Iterator[Difference]:
    key = key_of(counter)
    events, voids = read.events.get(key, Events()), read.voids.get(key, Voids())
    version = max(events.version, voids.version)
    yield from _unequal("counted", counter.counted, events.units - voids.units)
    yield from _unequal("forgiven", counter.forgiven, read.forgiven.get(key, 0))
    yield from _unequal("version", counter.version, max(counter.version, version))
    armed = read.armed.get(counter.pk, counter.next_threshold_at)
    yield from _unequal("next_threshold_at", counter.next_threshold_at, armed)
    # Rows that no counter can agree with.
    yield from _unequal("voids of no such event", 0, voids.astray)
    yield from _unequal("events inside the period", not events.astray, True)
    if events.keys:
        yield from _unequal("period_key", counter.period_key, max(events.keys))
        yield from _unequal("period_key", counter.period_key, min(events.keys))
    settled = min(counter.forgiven_version, counter.version)
    yield from _unequal("forgiven_version", counter.forgiven_version, settled)
    if counter.closed_at is not None:
        yield from _unequal("closed in time", counter.closed_at >= counter.period_end, True)
    entitlement = read.entitlements.get(counter.org_id)
    if entitlement is None:
        yield ("entitlement", None, counter.org_id)
        return
    yield from _derived_differences(counter, read, entitlement)


def _derived_differences(
    counter: UsageCounter, read: Books, entitlement: Entitlement
) -> Iterator[Difference]:
    """Compare what follows from the entitlement and the adjustments.

    What holds until `valid_until` held when the counter was last changed: it is
    compared as of then, so that what time alone changed since, and is derived at
    the next touch, is no difference. An ended period keeps what it was counted under.
    """
    at = counter.updated_at
    if at >= counter.valid_until:
        return
    rows = read.adjustments.get(key_of(counter), [])
    in_force = [one for one in rows if one.expires_at is None or one.expires_at > at]
    yield from _unequal("adjusted", counter.adjusted, sum(one.units for one in in_force))
    if counter.closed_at is not None or at >= counter.period_end:
        return
    right = repairs.derived(counter, entitlement, in_force, at=at)
    for name, value in right.items():
        yield from _unequal(name, getattr(counter, name), value)


def _copy_differences(
    counter: UsageCounter, epoch: int, copies: dict[str, dict[str, bytes] | None]
) -> Iterator[Difference]:
    if counter.org_id not in copies:
        copies[counter.org_id] = clients.copy.read(counter.org_id)
    copied = snapshots.from_copy(copies[counter.org_id], counter.metric)
    row = snapshots.of_row(counter, epoch)
    # A newer copy was published after our snapshot; an older one is on its way out.
    if copied is None or (copied.start_us, copied.version) != (row.start_us, row.version):
        return
    if copied != row:
        yield ("copy", copied.used, row.used)


def _unequal(what: str, found: object, right: object) -> Iterator[Difference]:
    if found != right:
        yield (what, _plain(found), _plain(right))


def _plain(value: object) -> Value:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, (int, bool)) or value is None else str(value)


def _drift(counter: UsageCounter, what: str, found: Value, right: Value) -> Drift:
    return Drift(counter.org_id, counter.metric, counter.period_key, what, found, right)
