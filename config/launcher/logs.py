"""Log files: kept small, read back and shown in a form for people."""

from __future__ import annotations

import heapq
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from config.launcher.ui import BLUE, BOLD, CYAN, DIM, GREEN, MAGENTA, RED, YELLOW, paint

TOO_BIG = 5_000_000
KEPT = 1_000_000

COLOURS = {
    "web": GREEN,
    "worker": CYAN,
    "beat": BLUE,
    "sandbox": MAGENTA,
    "postgres": DIM,
    "valkey": DIM,
}
LEVELS = {"debug": DIM, "info": 0, "warning": YELLOW, "error": RED, "critical": RED}
LOUD = {"warning", "error", "critical"}

# Plain lines (PostgreSQL, Valkey, Celery's and granian's own) say their level in words.
PLAIN_LOUD = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b|^Traceback |Error: ")
# What a person reads first, or that only a machine wants.
NOT_SHOWN = {"event", "level", "ts", "timestamp", "exception", "logger", "service", "version"}


@dataclass(frozen=True)
class Entry:
    """One line of a log, understood as far as possible."""

    source: str
    raw: str
    at: str = ""
    level: str = ""
    event: str = ""
    details: dict[str, object] = field(default_factory=dict)
    exception: str = ""

    @property
    def loud(self) -> bool:
        return self.level in LOUD


def understand(source: str, raw: str) -> Entry:
    if raw.startswith("{"):
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if isinstance(line, dict):
            return Entry(
                source=source,
                raw=raw,
                at=str(line.get("ts") or line.get("timestamp") or ""),
                level=str(line.get("level", "info")).lower(),
                event=str(line.get("event", "")),
                details={k: v for k, v in line.items() if k not in NOT_SHOWN and v is not None},
                exception=str(line.get("exception") or ""),
            )
    loud = PLAIN_LOUD.search(raw)
    level = (loud[1] or "error").lower() if loud else "info"
    level = {"fatal": "critical", "panic": "critical"}.get(level, level)
    return Entry(source=source, raw=raw, level=level, event=raw)


def pretty(entry: Entry) -> str:
    out = sys.stdout
    clock = entry.at[11:19] if len(entry.at) >= 19 else " " * 8
    parts = [
        paint(clock, DIM, out),
        paint(f"{entry.source:8}", COLOURS.get(entry.source, BOLD), out),
        paint(entry.event, LEVELS.get(entry.level, 0), out),
        *(paint(f"{k}={_short(v)}", DIM, out) for k, v in entry.details.items()),
    ]
    text = " ".join(parts)
    if entry.exception:
        text += "".join(f"\n    {line}" for line in entry.exception.splitlines())
    return text


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."


class Follower:
    """Reads the complete lines that were added to a file since the last look."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self.name = path.stem
        self._offset = 0 if from_start else self._size()
        self._rest = b""

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def entries(self) -> Iterator[Entry]:
        size = self._size()
        if size < self._offset:  # trimmed by a new start
            self._offset, self._rest = 0, b""
        if size == self._offset:
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            added = file.read(size - self._offset)
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for line in lines:
            if text := line.decode(errors="replace").rstrip():
                yield understand(self.name, text)


def trim(folder: Path) -> None:
    """At a start: keep only the end of files that have grown too big."""
    for path in folder.glob("*.log"):
        if path.stat().st_size <= TOO_BIG:
            continue
        with path.open("rb") as file:
            file.seek(-KEPT, 2)
            file.readline()
            rest = file.read()
        fresh = path.with_suffix(".new")
        fresh.write_bytes(rest)
        fresh.replace(path)


def chosen(folder: Path, names: list[str]) -> list[Path]:
    paths = sorted(folder.glob("*.log"))
    return [p for p in paths if not names or p.stem in names]


def last_entries(paths: list[Path], count: int) -> list[Entry]:
    """The last lines of several logs in the order they were written."""
    streams = [list(_dated(path))[-count:] for path in paths]
    merged = heapq.merge(*streams, key=lambda pair: pair[0])
    return [entry for _, entry in merged][-count:]


def _dated(path: Path) -> Iterator[tuple[str, Entry]]:
    # A line without a time belongs to the one before it.
    at = ""
    for entry in Follower(path, from_start=True).entries():
        found = re.match(r"\W*(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d[.,]?\d*)", entry.at or entry.raw)
        if found:
            at = f"{found[1]}T{found[2].replace(',', '.')}"
        yield at, entry


def show(entries: list[Entry], *, raw: bool) -> None:
    for entry in entries:
        print(entry.raw if raw else pretty(entry), flush=True)


def follow(paths: list[Path], *, raw: bool) -> None:
    """Print what is added, until Ctrl-C."""
    followers = [Follower(path) for path in paths]
    while True:
        for follower in followers:
            show(list(follower.entries()), raw=raw)
        time.sleep(0.2)
