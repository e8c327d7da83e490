"""One instance per data folder, and what it tells other `./dev` commands."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from config.launcher.guard import alive
from config.launcher.locks import FileLock


@dataclass(frozen=True)
class State:
    """What the running instance wrote down: where to find it and its servers."""

    pid: int
    command: str
    sockets: str = ""
    # Secrets stay in their own file; a caller's URL may still hold a password.
    addresses: dict[str, str] = field(default_factory=dict)


class Instance:
    """The claim on a data folder.

    The lock is the truth; the file beside it only says who holds it.
    """

    def __init__(self, data: Path) -> None:
        self.lock = FileLock(data / "instance.lock")
        # Held shared by commands that borrow another command's servers.
        self.guests = FileLock(data / "guests.lock")
        self._file = data / "instance.json"

    def claim(self, command: str) -> State | None:
        """Take the folder. Returns None on success, else who has it."""
        if not self.lock.acquire():
            return self.read()
        return None

    def publish(self, state: State) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(state), indent=1) + "\n")
        fresh.replace(self._file)

    def read(self) -> State:
        try:
            return State(**json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):
            return State(pid=0, command="another command")

    def withdraw(self) -> None:
        self._file.unlink(missing_ok=True)

    def holder_alive(self, state: State) -> bool:
        return state.pid > 0 and state.pid != os.getpid() and alive(state.pid)
