"""The product as its user meets it: a web process and the sandbox, over loopback HTTP."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 30


@dataclass(frozen=True)
class Live:
    """Where the running product listens."""

    base: str
    env: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def is_listening(self) -> bool:
        """Tell whether it takes new connections."""
        parts = urlsplit(self.base)
        try:
            socket.create_connection((str(parts.hostname), parts.port or 80), timeout=5).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def database_url() -> str:
    """Return the URL of this test process's database, as the application's role."""
    parts = connection.get_connection_params()
    user = quote(parts["user"]) + (f":{quote(parts['password'])}" if parts.get("password") else "")
    host, port = str(parts.get("host") or ""), str(parts.get("port") or "")
    if host.startswith("/"):
        return f"postgres://{user}@/{parts['dbname']}?host={quote(host, safe='')}"
    return f"postgres://{user}@{host}{':' + port if port else ''}/{parts['dbname']}"


@contextmanager
def running(
    command: list[str], env: dict[str, str], *, ready: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process until the block ends; wait until `ready` answers 200."""
    process = subprocess.Popen(command, cwd=ROOT, env=env)  # noqa: S603 - our own commands
    try:
        _wait_for(ready, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    parts = urlsplit(url)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        link = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=2)
        try:
            link.request("GET", parts.path)
            if link.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            link.close()
        time.sleep(0.05)  # polling a process that has no other way to say it is up
    raise AssertionError(f"{url} did not answer within {_START_SECONDS} s")


def env_of_web(**more: str) -> dict[str, str]:
    """Return the environment of a web process on this test's database and Valkey."""
    env = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "VALKEY_URL": settings.VALKEY_URL,
        "PORT": str(free_port()),
        "PROCESS_ROLE": "web",
        **more,
    }
    for name in ("PROMETHEUS_MULTIPROC_DIR", "DJANGO_SETTINGS_MODULE"):
        env.pop(name, None)
    return env


@contextmanager
def web(env: dict[str, str], *, application: str | None = None) -> Iterator[Live]:
    """Run a web process until the block ends, as `./dev run` does; then stop it with SIGTERM.

    `application` stands in for the product's own.
    """
    base = f"http://127.0.0.1:{env['PORT']}"
    command = [
        *(sys.executable, "-m", "config.edge"),
        *("--host", "127.0.0.1", "--port", env["PORT"], "--workers", "1"),
        *(("--application", application) if application else ()),
    ]
    with running(command, env, ready=f"{base}/readyz") as process:
        yield Live(base, env, process)


@pytest.fixture
def live(transactional_db: None) -> Iterator[Live]:
    """Run web and sandbox against this test's database and Valkey."""
    env = env_of_web(SANDBOX_URL=f"http://127.0.0.1:{free_port()}")
    command = [sys.executable, "-m", "billing.sandbox"]
    with (
        running(command, env, ready=f"{env['SANDBOX_URL']}/_sandbox/healthz"),
        web(env) as serving,
    ):
        yield serving
