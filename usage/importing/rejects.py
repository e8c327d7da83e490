"""The file of lines that could not be counted, made only when there is one."""

import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from usage.importing.errors import CannotImport

_OURS = re.compile(rb"\d+\t[A-Z_]+: ")


class RejectsFile:
    """`line number, tab, reason, tab, the raw line`, one per rejected line.

    Each run reads its log from the start, so an older file of the same name is
    replaced, or removed when nothing is rejected any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: BinaryIO | None = None
        can_write = os.access(path if path.exists() else path.parent, os.W_OK)
        if path.is_dir() or not can_write:
            raise CannotImport(f"Rejected lines cannot be written to {path}: use --rejects")
        if path.is_file() and not _is_ours(path):
            raise CannotImport(f"{path} is there and holds no rejected lines: use --rejects")

    def forget_older(self) -> None:
        """Remove what an earlier import of the log has left."""
        if self.path.is_file():
            self.path.unlink()

    def add(self, number: int, reason: str, raw: bytes) -> None:
        """Keep one line. Raises CannotImport when the disk does not take it."""
        try:
            if self._stream is None:
                self._stream = self.path.open("wb")
            self._stream.write(b"%d\t%s\t%s\n" % (number, reason.encode(), raw))
        except OSError as error:
            raise CannotImport(f"{self.path} cannot be written: {error.strerror}") from error

    @property
    def is_used(self) -> bool:
        """Whether a line was kept."""
        return self._stream is not None

    def __enter__(self) -> "RejectsFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()


def default_path(log: Path | None, source: str, *, fallback: Path) -> Path:
    """Return `<log>.rejects`; in the folder `fallback` where the log's own is read-only."""
    if log is not None:
        beside = log.with_name(f"{log.name}.rejects")
        if os.access(beside.parent, os.W_OK) and _somebody_may_write(beside.parent):
            return beside
    with suppress(OSError):  # then RejectsFile says so
        fallback.mkdir(parents=True, exist_ok=True)
    return fallback / f"{source.replace(os.sep, '_')}.rejects"


def _somebody_may_write(folder: Path) -> bool:
    # To root every folder is writable, also one that was closed on purpose.
    return bool(folder.stat().st_mode & 0o222)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(64)
    return not start or _OURS.match(start) is not None
