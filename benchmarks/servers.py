"""The processes that are measured, under the product's own settings."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from config.launcher.accounts import caller
from config.launcher.binaries import find_valkey
from config.launcher.valkey import Valkey

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 30


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(application: str, **more: str) -> Iterator[int]:
    """Serve a WSGI application with one worker and four threads; yields its port."""
    port = free_port()
    command = [
        *("granian", "--interface", "wsgi", application),
        *("--host", "127.0.0.1", "--port", str(port), "--no-ws"),
        *("--workers", "1", "--blocking-threads", "4", "--log-level", "warning"),
    ]
    with running(command, ready=lambda: listens(port), env=more):
        yield port


@contextmanager
def running(
    command: list[str],
    *,
    ready: Callable[[], bool],
    env: dict[str, str],
    log: Path | str | None = None,
) -> Iterator[int]:
    """Run a program of this environment until the block ends; yields its pid once it is `ready`.

    What it says goes to `log`, where one is named.
    """
    program = str(Path(sys.executable).parent / command[0])
    with open(log or os.devnull, "wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [program, *command[1:]],
            cwd=ROOT,
            env=os.environ | env,
            stdout=said if log else None,
            stderr=subprocess.STDOUT if log else None,
        )
        try:
            _wait(ready, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


class Broker:
    """A Valkey for the messages alone, which may be taken away and brought back."""

    def __init__(self) -> None:
        # A socket's path may have 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="mg-bench-"))
        site_packages = Path(sysconfig.get_paths()["purelib"])
        self._server = Valkey(find_valkey(site_packages, caller()), self._folder, caller())
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._server.broker_url

    def start(self) -> None:
        """Start it, empty; returns when it answers."""
        spec = self._server.spec()
        process = subprocess.Popen(  # noqa: S603 - our own command
            spec.argv, cwd=spec.cwd, env=spec.env, stdout=subprocess.DEVNULL
        )
        self._process = process
        _wait(lambda: self._server.ready(process.pid), process)

    def hang(self) -> None:
        """Let it take connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def manage(*words: str) -> None:
    """Run a management command."""
    subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, check=True)  # noqa: S603


def listens(port: int) -> bool:
    """Tell whether somebody does, on the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _wait(ready: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended before it was ready")
        if time.monotonic() > deadline:
            raise SystemExit(f"{process.args!r} was not ready in time")
        time.sleep(0.05)
