"""Keeps processes running, and takes them down in the right order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from config.launcher.guard import Guard, Watched
from config.launcher.process import Spec, spawn
from config.launcher.ui import Refusal, warn

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
# After this long a process counts as healthy, and its next failure as the first.
SETTLED = 60.0
# A launcher that was killed leaves its children less time than one that stops.
GRACE_WITHOUT_US = 5.0


class Child:
    """One supervised process and its history."""

    def __init__(self, spec: Spec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_again_at = 0.0
        self.pause = FIRST_PAUSE

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Children are stopped in the reverse order of their start."""

    def __init__(self, guard: Guard, logs: Path) -> None:
        self.guard = guard
        self.logs = logs
        self.children: list[Child] = []

    def start(
        self, spec: Spec, ready: Callable[[int], bool] | None = None, timeout: float = 60.0
    ) -> Child:
        """Start a process and wait until it is ready; a death on the way is final."""
        child = Child(spec, self.logs / f"{spec.name}.log")
        self.children.append(child)
        self._launch(child)
        if ready is not None:
            self.wait_ready(child, ready, timeout)
        return child

    def wait_ready(self, child: Child, ready: Callable[[int], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while child.process is not None and not ready(child.process.pid):
            for one in self.children:
                if not one.running:
                    raise Refusal(f"{one.spec.name} ended while starting.\n{tail(one.log)}")
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{child.spec.name} was not ready after {timeout:.0f} seconds.\n"
                    f"{tail(child.log)}"
                )
            time.sleep(0.05)

    def tend(self) -> None:
        """Notice what died and start it again, with growing pauses. Never blocks."""
        now = time.monotonic()
        for child in self.children:
            if child.process is None:
                if now >= child.start_again_at:
                    self._launch(child)
                    warn(f"{child.spec.name} was started again.")
            elif child.process.poll() is not None:
                self._note_death(child, now)

    def _note_death(self, child: Child, now: float) -> None:
        process = child.process
        if process is None:
            return
        self._sweep(process.pid)
        if now - child.started_at > SETTLED:
            child.pause = FIRST_PAUSE
        child.process = None
        child.start_again_at = now + child.pause
        warn(
            f"{child.spec.name} ended unexpectedly ({how_it_ended(process.returncode)}); "
            f"starting it again in {child.pause:.0f} s.\n{tail(child.log, 5)}"
        )
        child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def stop(self, hurry: Callable[[], bool], tell: Callable[[str], None]) -> None:
        """Take everything down, newest first, giving each its grace."""
        for child in reversed(self.children):
            process = child.process
            if process is None:
                continue
            tell(child.spec.name)
            if process.poll() is None:
                with contextlib.suppress(OSError):
                    os.kill(process.pid, child.spec.stop_signal)
                _wait(process, child.spec.grace, hurry)
            self._sweep(process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            child.process = None
        self.children.clear()

    def _launch(self, child: Child) -> None:
        child.process = spawn(child.spec, child.log)
        child.started_at = time.monotonic()
        spec = child.spec
        # Only the database's shutdown is worth waiting for when nobody is left to ask.
        grace = spec.grace if spec.name == "postgres" else min(spec.grace, GRACE_WITHOUT_US)
        self.guard.watch(Watched(child.process.pid, int(spec.stop_signal), grace, group=True))

    def _sweep(self, pid: int) -> None:
        """End what is left of a child's own process group (its workers)."""
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        self.guard.forget(pid)


def _wait(process: subprocess.Popen[bytes], grace: float, hurry: Callable[[], bool]) -> None:
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and not hurry():
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        return


def how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, to go below a sentence about its process."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
