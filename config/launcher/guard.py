"""Nothing outlives the launcher, even when it is killed with no chance to tidy up.

Two nets, because each has a hole:

- PR_SET_PDEATHSIG (see `process.py`) is instant, but reaches only direct children:
  not the workers a web server or a Celery pool has forked.
- The guard: one small process holding the reading end of a pipe. When the launcher
  dies the pipe closes, and the guard asks every process it was told about to stop,
  kills the process groups of those that do not, and removes temporary folders.

It is handed the data folder's lock too, so the next `./dev run` cannot start while
the remains of the last one are still shutting down.

This file is run by path with `python -I`, so it imports the standard library only.
"""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Watched:
    pid: int
    signal: int
    grace: float
    # Whether the process leads a group of its own, which then goes with it.
    group: bool


class Guard:
    """The launcher's end of the pipe."""

    def __init__(self, held_locks: Iterable[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=tuple(held_locks),
            # Out of reach of the terminal's Ctrl-C and of a kill of our group.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def watch(self, watched: Watched) -> None:
        self._tell({"watch": asdict(watched)})

    def forget(self, pid: int) -> None:
        self._tell({"forget": pid})

    def remove_later(self, folder: Path) -> None:
        self._tell({"remove": str(folder)})

    def dismiss(self) -> None:
        """All is tidy: nothing is left to do after us."""
        self._tell({"dismiss": True})
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
        self._process.wait()

    def _tell(self, message: dict[str, object]) -> None:
        pipe = self._process.stdin
        # A guard that was killed is no reason to stop working.
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.write(json.dumps(message).encode() + b"\n")
                pipe.flush()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return not Path("/proc/self").exists()
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def end(watched: Iterable[Watched]) -> None:
    """Ask all to stop at once, newest first, and kill what is left after its grace."""
    waiting = list(watched)[::-1]
    started = time.monotonic()
    for one in waiting:
        with contextlib.suppress(OSError):
            os.kill(one.pid, one.signal)
    for one in waiting:
        while alive(one.pid) and time.monotonic() - started < one.grace:
            time.sleep(0.05)
        with contextlib.suppress(OSError):
            if one.group:
                os.killpg(one.pid, signal.SIGKILL)
            elif alive(one.pid):
                os.kill(one.pid, signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched: dict[int, Watched] = {}
    folders: list[str] = []
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:
            continue  # cut short by a signal at the other end
        if "watch" in message:
            one = Watched(**message["watch"])
            watched[one.pid] = one
        elif "forget" in message:
            watched.pop(message["forget"], None)
        elif "remove" in message:
            folders.append(message["remove"])
        elif "dismiss" in message:
            return
    end(watched.values())
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
