"""Starting one process so that it cannot outlive the launcher."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from config.launcher.accounts import Account

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Spec:
    """How to start a process and how to ask it to stop."""

    name: str
    argv: list[str]
    env: Mapping[str, str]
    cwd: Path
    account: Account
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0


def spawn(spec: Spec, log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, writing to its log file.

    The file is handed over directly: no pipe of ours can block or break the child.
    Call from the main thread only, since PDEATHSIG means the thread that forked.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            spec.argv,
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Runs after the change of account, which would have cleared the setting.
            preexec_fn=die_with_parent(spec.stop_signal),
            **spec.account.spawn_as(),
        )


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel send `number` when the launcher dies.

    Linux only; elsewhere, and for grandchildren everywhere, there is the guard.
    """
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return None
    parent = os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it died between fork and here, so no signal would come

    return arm


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
