"""A door before the sandbox that holds a request until the test lets it through.

A slow Stripe whose slowness a test can rely on: it knows when a request has
arrived, and ends it itself.
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from django.conf import settings

from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.callers import Callers
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from tests.sandbox.server import Control

_PATIENCE = 30


class Gate:
    """Forwards everything; holds the first request of `method path` until `open`.

    With `answered` Stripe does what it was asked, and its answer is what is held.
    """

    def __init__(self, upstream: str, held: str, *, answered: bool) -> None:
        self.arrived = threading.Event()
        self._opened = threading.Event()
        self._held, self._upstream = held, urlsplit(upstream)
        self._answered = answered
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # or `close` would not wait for them
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def wait(self) -> None:
        """Return once the request has arrived."""
        assert self.arrived.wait(_PATIENCE), f"{self._held} never came"

    def open(self) -> None:
        """Let the request through."""
        self._opened.set()

    def run(self) -> None:
        """Serve until `close`."""
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        """Let everything through and end when it has gone."""
        self.open()
        self._server.shutdown()
        self._server.server_close()  # joins the threads that forward

    def _hold(self, request: str) -> None:
        with self._lock:
            first = request == self._held and not self.arrived.is_set()
            if first:
                self.arrived.set()
        if first:
            self._opened.wait(_PATIENCE)

    def _forward(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        request = f"{handler.command} {urlsplit(handler.path).path}"
        if not self._answered:
            self._hold(request)
        link = http.client.HTTPConnection(
            str(self._upstream.hostname), self._upstream.port, timeout=_PATIENCE
        )
        link.request(handler.command, handler.path, body, dict(handler.headers))
        answer = link.getresponse()
        content = answer.read()
        if self._answered:
            self._hold(request)
        try:
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "date", "server"}:
                    handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            pass  # who asked has gone away: that is what some tests are about
        link.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 (the name http.server calls)
                gate._forward(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


@contextmanager
def holding(
    sandbox: Control, request: str, *, callers: Callers | None = None, answered: bool = False
) -> Iterator[Gate]:
    """Put a gate before the sandbox that holds the first `METHOD /path`, or its answer."""
    gate = Gate(sandbox.url, request, answered=answered)
    serving = threading.Thread(target=gate.run)
    serving.start()
    transport = Transport(api_key=settings.STRIPE_API_KEY, base_url=gate.url, callers=callers)
    try:
        with clients.swapped("stripe", StripeGateway(transport)):
            yield gate
    finally:
        gate.close()
        serving.join(_PATIENCE)
