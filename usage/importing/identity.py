"""Which log a file is: known by what it holds, whatever it is called and wherever it lies.

A log is known by the fingerprint of its first lines and by how many lines of it were seen.
The fingerprint is looked for at every line of a file, not only at the first: so a file
that was put together of several logs is each of them in turn. A file that begins in the
middle of a log is known by the ledger, which holds the lines that were counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from usage.models import ImportedLog, ImportRun

#: As many of the first lines make a fingerprint; fewer, as long as a log has fewer.
HEAD = 64
_DIGITS = 16
#: So many ends of a log are remembered.
_TAILS = 64


def digest_of(mark: bytes) -> str:
    """Return what is kept of a line's fingerprint."""
    return mark.hex()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log that was imported before. Without a head: a source of before logs were known."""

    id: int
    run: ImportRun
    part: str
    head: Sequence[str] = ()
    lines: int = 0
    tails: Sequence[str] = ()
    #: Empty where lines may be missing in the ledger; else the filters that chose them.
    whole_for: str | None = None

    @property
    def key(self) -> tuple[int, str]:
        """What its events' names are made of."""
        return self.run.pk, self.part

    @property
    def can_restart(self) -> bool:
        """Whether its first lines, read again, are the log again and not more requests."""
        return len(self.head) >= 4 and len(set(self.head)) > 1


@dataclass(slots=True)
class Segment:
    """Lines from `start` on (counted from 0, blank ones left out) that are of one log.

    `run` is empty for the log of a source that has none yet.
    """

    start: int
    run: ImportRun | None = None
    part: str = ""
    log: KnownLog | None = None
    #: Its beginning is to be kept, so that it is known from now on.
    is_new: bool = False
    is_named: bool = False
    #: The row by which it is known, and those whose lines were all counted before.
    row_id: int = 0
    whole_rows: Sequence[ImportedLog] = ()


def known_logs(org_id: str, *, metric: str, source: str, is_named: bool) -> list[KnownLog]:
    """Return the logs an organisation had counted as `metric`.

    Of the source alone where the operator named it. Else logs that were counted under
    another name on purpose are left out.
    """
    runs = ImportRun.objects.filter(org_id=org_id, metric=metric).order_by("pk")
    if is_named:
        runs = runs.filter(source=source)
    known = []
    for run in runs.prefetch_related("logs"):
        rows = sorted(run.logs.all(), key=lambda row: row.pk)
        if not rows:
            known.append(KnownLog(0, run, ""))
        known += [_known(run, row) for row in rows if run.source == source or not row.is_named]
    return known


def _known(run: ImportRun, row: ImportedLog) -> KnownLog:
    whole_for = row.filters if row.is_whole else None
    head, tails = (_split(digests) for digests in (row.head, row.tails))
    return KnownLog(row.pk, run, row.part, head, row.lines, tails, whole_for)


def _split(digests: str) -> list[str]:
    return [digests[at : at + _DIGITS] for at in range(0, len(digests), _DIGITS)]


@dataclass(slots=True)
class Look:
    """What the lines of a file tell of what it is; `see` each of them in order."""

    known: Sequence[KnownLog]
    head: list[str] = field(default_factory=list)
    lines: int = 0
    tail: str = ""
    #: Where known logs begin: line, log, how many of its first lines were there.
    begins: list[tuple[int, KnownLog, int]] = field(default_factory=list)
    #: Where the whole fingerprint of the file itself stands again.
    again: list[int] = field(default_factory=list)
    #: The line before each line at which a log may begin.
    before: dict[int, str] = field(default_factory=dict)
    _by_first: dict[str, list[KnownLog]] = field(default_factory=dict)
    _open: list[tuple[int, KnownLog]] = field(default_factory=list)
    _again: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for log in self.known:
            if log.head:
                self._by_first.setdefault(log.head[0], []).append(log)

    def see(self, mark: bytes, *, ended: bool) -> None:
        """Look at one line. One that is still being written is no part of a fingerprint."""
        if not ended and self.lines:
            return
        digest, at = digest_of(mark), self.lines
        if digest != self.tail and (digest in self._by_first or [digest] == self.head[:1]):
            self.before[at] = self.tail
        self.lines += 1
        self.tail = digest
        if len(self.head) < HEAD:
            self.head.append(digest)
        elif self._again or digest == self.head[0]:
            self._follow_itself(digest, at)
        for log in self._by_first.get(digest, ()):
            self._open.append((at, log))
        if self._open:
            self._follow(digest, at)

    def _follow(self, digest: str, at: int) -> None:
        still = []
        for start, log in self._open:
            if log.head[at - start] != digest:
                continue
            if at - start + 1 == len(log.head):
                self.begins.append((start, log, len(log.head)))
            else:
                still.append((start, log))
        self._open = still

    def _follow_itself(self, digest: str, at: int) -> None:
        self._again = [start for start in (*self._again, at) if self.head[at - start] == digest]
        if self._again and at - self._again[0] + 1 == HEAD:
            self.again.append(self._again.pop(0))

    def close(self) -> None:
        """Take what was still going on at the end of the file for a beginning too."""
        self.begins += [(start, log, self.lines - start) for start, log in self._open]
        self._open = []


def segments(look: Look, label: str, opening: Segment) -> list[Segment]:
    """Return which lines of a file are of which log.

    `opening` is what the file begins with. A log that was known when a longer one was
    imported for the first time was told apart then, and is now; one that became known
    later, by lines that were counted as the longer one's, is not.
    """
    begins: list[tuple[int, int, bool, KnownLog | None]] = [
        (start, -length, log.run.source != label, log) for start, log, length in look.begins
    ]
    if opening.is_new and len(set(look.head)) > 1:
        begins += [(start, -HEAD, True, None) for start in look.again]
    parts = [opening]
    for start, _, _, log in sorted(begins, key=lambda begin: begin[:3]):
        last = parts[-1]
        if start <= last.start:
            continue
        if log is None:
            parts.append(Segment(start, opening.run, opening.part))
        elif _begins(log, start, last):
            parts.append(Segment(start, log.run, log.part, log))
    return parts


def _begins(log: KnownLog, start: int, last: Segment) -> bool:
    seen_past = last.log is None or start - last.start >= last.log.lines
    if last.run is not None and log.key == (last.run.pk, last.part):
        return seen_past and last.log is not None and log.id == last.log.id and log.can_restart
    return seen_past or (last.log is not None and log.id < last.log.id)


def opening_of(look: Look, label: str) -> Segment | None:
    """Return the known log whose first lines are the file's; None where there is none."""
    starts = [(log, length) for start, log, length in look.begins if start == 0]
    if not starts:
        return None
    log, _ = min(starts, key=lambda each: (-each[1], each[0].run.source != label, each[0].id))
    return Segment(0, log.run, log.part, log)


def part_of(head: Sequence[str]) -> str:
    """Return the part that names a further log of a source, made of its first lines."""
    return "f" + blake2b("".join(head).encode(), digest_size=16).hexdigest()


def with_tail(tails: str, tail: str) -> str:
    """Return a row's `tails` with one more, the oldest left out."""
    kept = [digest for digest in _split(tails) if digest != tail]
    return "".join([*kept, tail][-_TAILS:])
