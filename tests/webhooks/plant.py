"""The whole of it: web, worker and beat as processes, and a broker that a test may take away."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from tests.races.valkeys import OwnValkey
from tests.sandbox.server import Control
from tests.support.live import ROOT, database_url, free_port
from tests.webhooks.cast import PATH, encoded, signature

#: After so long it will not start any more, on however busy a machine.
_START_SECONDS = 180


class Plant:
    """Web, worker and beat against this test's database, its sandbox and a broker of their own."""

    def __init__(self, folder: Path, sandbox: Control) -> None:
        self.broker = OwnValkey()
        self.port = free_port()
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.broker_url = f"redis+socket://{urlsplit(self.broker.url).path}?virtual_host=1"
        self._env = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "VALKEY_URL": settings.VALKEY_URL,
            "CELERY_BROKER_URL": self.broker_url,
            "SANDBOX_URL": sandbox.url,
            "PORT": str(self.port),
        }
        for name in ("PROMETHEUS_MULTIPROC_DIR", "DJANGO_SETTINGS_MODULE", "STRIPE_API_BASE"):
            self._env.pop(name, None)

    def set(self, name: str, value: str) -> None:
        """Give a variable to the processes that are started from here on."""
        self._env[name] = value

    # Processes

    def start_web(self) -> None:
        """Start a web process and wait until it answers."""
        self._start(
            "web",
            *("python", "-m", "config.edge", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", "1"),
            role="web",
        )
        self._wait(lambda: self._answers("/healthz"), "web")

    def start_worker(self, *options: str) -> None:
        """Start a worker with two processes."""
        self._start(
            "worker",
            *("celery", "-A", "config.celery", "worker", "-l", "INFO", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle"),
            *options,
            role="worker",
        )

    def start_beat(self) -> None:
        """Start the clock that rings for sweeps."""
        self._start(
            "beat",
            *("celery", "-A", "config.celery", "beat", "-l", "INFO", "--pidfile="),
            *("--schedule", str(self._folder / "beat")),
            role="worker",
        )

    def kill(self, name: str) -> None:
        """End a process and its children as a power cut would."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def close(self) -> None:
        """End everything."""
        for name in list(self._processes):
            self.kill(name)
        self.broker.close()

    def running(self, name: str) -> bool:
        """Tell whether a process has not ended."""
        return self._processes[name].poll() is None

    # Deliveries

    def deliver(self, event: Any, *, patience: float = 30.0) -> int:
        """POST an event to the web process; returns the status."""
        body = encoded(event)
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        try:
            headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body)}
            link.request("POST", PATH, body, headers)
            answer = link.getresponse()
            answer.read()
            return answer.status
        finally:
            link.close()

    def wait_until(self, settled: Callable[[], bool], seconds: float) -> bool:
        """Look until something is so, at most for so many seconds; tells whether it is."""
        end = time.monotonic() + seconds
        while not settled():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)  # other processes work: they have no way to tell us
        return True

    def _start(self, name: str, program: str, *arguments: str, role: str) -> None:
        log = self._folder / f"{name}.log"
        with log.open("ab") as output:
            self._processes[name] = subprocess.Popen(  # noqa: S603 - our own commands
                [str(Path(sys.executable).parent / program), *arguments],
                cwd=ROOT,
                env={**self._env, "PROCESS_ROLE": role},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self, ready: Callable[[], bool], name: str) -> None:
        assert self.wait_until(lambda: ready() or not self.running(name), _START_SECONDS), name
        assert self.running(name), (self._folder / f"{name}.log").read_text()

    def _answers(self, path: str) -> bool:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            link.request("GET", path)
            return link.getresponse().status == 200
        except OSError:
            return False
        finally:
            link.close()


@contextmanager
def planted(folder: Path, sandbox: Control) -> Iterator[Plant]:
    """Give a plant of which nothing runs yet; end all of it afterwards."""
    plant = Plant(folder, sandbox)
    try:
        yield plant
    finally:
        plant.close()
        connection.close()
