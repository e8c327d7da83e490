"""A log as lines of bytes, read twice: once to look, once to count."""

import bz2
import gzip
import lzma
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from usage.importing.errors import CannotImport

#: Longest line that is read; a file without line ends must not fill the memory. Far
#: beyond what a server takes as headers, so that no client can make its line too long.
MAX_LINE = 16 * 1024 * 1024
STDIN = "-"
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


class Line(NamedTuple):
    """One line, without its line end. `raw` is cut at MAX_LINE where it does not fit."""

    number: int
    raw: bytes
    end: int  # bytes of the log up to here
    ended: bool  # a line end was there; without one it may still be being written
    fits: bool


class LogFile:
    """A log that can be read from its start as often as needed.

    Raises CannotImport for a kind of compression that Python does not know.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self._stream = stream
        self._magic = stream.read(6)
        self.size = os.fstat(stream.fileno()).st_size
        if self._magic.startswith(_ZSTD):
            raise CannotImport(
                f"{name} is compressed with zstd: zstdcat it into `import_usage - --source …`"
            )

    @property
    def likely_lines(self) -> int:
        """Roughly how many lines to expect; only memory is planned by it."""
        return self.size * (10 if self._is_compressed else 1) // 100

    @property
    def _is_compressed(self) -> bool:
        return self._magic.startswith((_GZIP, _BZIP2, _XZ))

    def _open(self) -> BinaryIO:
        self._stream.seek(0)
        if self._magic.startswith(_GZIP):
            return cast(BinaryIO, gzip.GzipFile(fileobj=self._stream))
        if self._magic.startswith(_BZIP2):
            return cast(BinaryIO, bz2.BZ2File(self._stream))
        if self._magic.startswith(_XZ):
            return cast(BinaryIO, lzma.LZMAFile(self._stream))
        return self._stream

    def lines(self, *, until: int | None = None) -> Iterator[Line]:
        """Yield the lines, blank ones left out; `until` stops after that many bytes.

        A log may grow while it is read: the second reading stops where the first
        one did. Raises CannotImport for a log that is damaged or became shorter.
        """
        stream = self._open()
        number = end = 0
        while chunk := self._readline(stream, until, end):
            number += 1
            end += len(chunk)
            # A hole in the file (its writer went on after others had truncated it).
            while not chunk.endswith(b"\n") and not chunk.strip(b"\0"):
                chunk = self._readline(stream, until, end)
                end += len(chunk)
                if not chunk:
                    break
            raw = chunk.rstrip(b"\r\n")
            fits = len(raw) <= MAX_LINE
            while not chunk.endswith(b"\n") and (more := self._readline(stream, until, end)):
                end += len(more)
                chunk = more
            if raw.strip():
                yield Line(number, raw[:MAX_LINE], end, chunk.endswith(b"\n"), fits)
        if until is not None and end < until:
            raise CannotImport(f"{self.name} became shorter while it was read; run it again")

    def _readline(self, stream: BinaryIO, until: int | None, end: int) -> bytes:
        limit = MAX_LINE + 1 if until is None else min(MAX_LINE + 1, until - end)
        try:
            return stream.readline(limit)
        except _DAMAGED as error:
            raise CannotImport(f"{self.name} cannot be read to its end: {error}") from error


@contextmanager
def open_log(path: str) -> Iterator[LogFile]:
    """Open a file, or standard input for `-`, plain or compressed (gzip, bzip2, xz).

    What can be read only once is kept in an unnamed temporary file. Raises
    CannotImport when it cannot be opened.
    """
    name = "standard input" if path == STDIN else path
    with ExitStack() as stack:
        try:
            if path == STDIN:
                stream: BinaryIO = sys.stdin.buffer
            else:
                stream = stack.enter_context(Path(path).open("rb"))
            if path == STDIN or not stream.seekable():
                spool = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(stream, spool)
                spool.seek(0)
                stream = spool
            log = LogFile(stream, name)
        except OSError as error:
            raise CannotImport(f"{name} cannot be read: {error.strerror or error}") from error
        yield log
