"""Locks between `./dev` processes: flock, so that a crash always lets go."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive or shared flock on a file; the file itself stays.

    The descriptor may be handed to another process, which then holds the lock too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def acquire(self, *, shared: bool = False, wait: bool = False) -> bool:
        """Take the lock; False when someone else has it and `wait` is off."""
        if self.fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self.fd = os.open(self.path, flags, 0o600)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.fd, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        if self.fd >= 0:
            # Closing, not LOCK_UN: unlocking would take the lock away from a process
            # that shares this descriptor as well.
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> FileLock:
        self.acquire(wait=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
