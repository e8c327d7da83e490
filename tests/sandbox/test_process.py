"""The sandbox as a process of its own: it starts, delivers by itself, and stops."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from billing.sandbox.config import Config
from billing.sandbox.database import Database
from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from tests.sandbox.server import Control, free_port

_KEY = "sk_test_process"


@pytest.fixture
def arrived() -> Iterator[tuple[str, threading.Event]]:
    """A receiver's address, and what is set when something came."""
    came = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 (the name is http.server's)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.end_headers()
            came.set()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", came
    server.shutdown()
    server.server_close()


def test_the_process_serves_delivers_and_stops(arrived: tuple[str, threading.Event]) -> None:
    url, came = arrived
    here = f"http://127.0.0.1:{free_port()}"
    schema = f"process_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    environment = {
        **os.environ,
        "SANDBOX_URL": here,
        "SANDBOX_SCHEMA": schema,
        "STRIPE_API_KEY": _KEY,
        "SANDBOX_WEBHOOK_URL": url,
        "STRIPE_WEBHOOK_SECRETS": "whsec_a,whsec_b",
    }
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "billing.sandbox"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        gateway = StripeGateway(Transport(api_key=_KEY, base_url=here))
        gateway.ensure_customer(
            org_id="org_1", email="a@example.com", name="A", idempotency_key="k"
        )

        assert came.wait(20)
        assert Control(here, _KEY).state()["objects"]["customer"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        process.stderr.close()
        _drop(schema)


def test_it_does_not_start_with_a_live_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_x")

    with pytest.raises(SystemExit, match="live"):
        Config.from_environment()


def _drop(schema: str) -> None:
    database = Database(
        Config(
            database_url=os.environ["SANDBOX_DATABASE_URL"],
            api_key="",
            webhook_secret="",
            schema=schema,
        )
    )
    database.open()
    database.drop()
    database.close()
