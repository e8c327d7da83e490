"""A gate before which requests keep their threads until a test opens it."""

import fcntl
import time
from collections import Counter
from pathlib import Path

from tests.edge.wire import PATIENCE

#: What serves a gate's requests, and holds those that say so.
APPLICATION = "tests.edge.held:application"


class Gate:
    """What a server of `APPLICATION` waits for; `folder` is its GATE."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inside = folder / "inside"
        self._inside.touch()
        self._lock = (folder / "closed").open("w")

    def close(self) -> None:
        """Hold whoever comes from here on."""
        self._inside.write_bytes(b"")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def open(self) -> None:
        """Let all go on."""
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def wait_for(self, **threads: int) -> None:
        """Wait until so many requests of each name keep a thread."""
        end = time.monotonic() + PATIENCE
        while self.inside() != threads:
            assert time.monotonic() < end, f"{self.inside()} are inside, not {threads}"
            time.sleep(0.05)  # another process works: it has no way to tell us

    def inside(self) -> Counter[str]:
        """Count by their names the requests that came since the gate was closed."""
        return Counter(self._inside.read_text().split())
