"""Running one command in the terminal, with the caller's input and signals."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from config.launcher.guard import Guard, Watched
from config.launcher.process import die_with_parent
from config.launcher.signals import Stopper
from config.launcher.supervisor import GRACE_WITHOUT_US

# Long enough for a test run to tear its fixtures down.
PATIENCE = 15.0


def run_in_terminal(
    argv: list[str], env: Mapping[str, str], cwd: Path, stopper: Stopper, guard: Guard | None = None
) -> int:
    """Run until it ends; return its exit code as a shell would.

    The command stays in our process group, so the terminal's Ctrl-C reaches it
    directly and we only wait; every other signal to us is passed on.
    """
    stopper.tidy()
    process = subprocess.Popen(
        argv, env=dict(env), cwd=cwd, preexec_fn=die_with_parent(signal.SIGINT)
    )
    if guard is not None:
        # Not its group: that is ours and the terminal's.
        watched = Watched(process.pid, int(signal.SIGINT), GRACE_WITHOUT_US, group=False)
        guard.watch(watched)
    told: int | None = None
    told_at = 0.0
    try:
        while True:
            try:
                code = process.wait(timeout=0.1)
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                pass
            if stopper.last is not None and stopper.last != told:
                told, told_at = stopper.last, time.monotonic()
                if told != signal.SIGINT or not sys.stdin.isatty():
                    process.send_signal(told)
            waited = time.monotonic() - told_at
            if told is not None and told != signal.SIGINT and waited > PATIENCE:
                process.kill()
    finally:
        if guard is not None:
            guard.forget(process.pid)
