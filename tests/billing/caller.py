"""A web process without a socket: makes the calls it is told, following Retry-After.

Reads one job from its standard input, writes one line per call: the statuses it
met, the last answer. `calling` starts one, which may be killed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

#: How much of Retry-After is waited: less than asked for is the harder case.
_HASTE = 0.2
_PATIENCE = 60.0


def persistently(client: Any, job: dict[str, Any], key: str | None) -> dict[str, Any]:
    """POST until the answer is not *try again*; return every status, and the last body."""
    headers = {"Authorization": f"Bearer {job['token']}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    statuses = []
    end = time.monotonic() + _PATIENCE
    while True:
        answer = client.post(
            job["path"], job["body"], content_type="application/json", headers=headers
        )
        statuses.append(answer.status_code)
        again = answer.headers.get("Retry-After")
        if again is None or time.monotonic() > end:
            return {"statuses": statuses, "body": answer.content.decode()}
        time.sleep(int(again) * _HASTE)  # as the client it is would


def make_calls(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Make one call per key of the job, each from a thread of its own."""
    from django.db import connections
    from django.test import Client

    def call(key: str | None) -> dict[str, Any]:
        try:
            return persistently(Client(), job, key)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(job["keys"])) as pool:
        return list(pool.map(call, job["keys"]))


class Caller:
    """A process that has the application loaded, on this test's database."""

    def __init__(self, stripe_url: str) -> None:
        from django.conf import settings

        from tests.support.live import ROOT, database_url

        env = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "VALKEY_URL": settings.VALKEY_URL,
            "SANDBOX_URL": stripe_url,
            "PROCESS_ROLE": "web",
            # For as many as call at once; a server bounds its threads instead.
            "DATABASE_POOL_SIZE": "20",
        }
        env.pop("PROMETHEUS_MULTIPROC_DIR", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.billing.caller"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._hears, self._says = self._process.stdin, self._process.stdout

    def wait_until_ready(self) -> None:
        """Return when the application is loaded."""
        assert self._says.readline() == "ready\n"

    def start(self, job: dict[str, Any]) -> None:
        """Have it make the calls of a job."""
        self._hears.write(json.dumps(job) + "\n")
        self._hears.flush()

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield what each call was answered, until the process ends."""
        for line in self._says:
            yield json.loads(line)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        """End it, and free its pipes."""
        self.kill()
        self._hears.close()


@contextmanager
def calling(stripe_url: str) -> Iterator[Caller]:
    """Start a process whose Stripe is there."""
    caller = Caller(stripe_url)
    try:
        yield caller
    finally:
        caller.close()


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.test import Client

    Client().get("/healthz")  # loads the URL configuration before the race
    print("ready", flush=True)
    for answer in make_calls(json.loads(sys.stdin.readline())):
        print(json.dumps(answer), flush=True)
