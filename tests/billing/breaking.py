"""A wire to the sandbox that breaks at a chosen request: lost, unanswered, or far too late."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

from django.conf import settings

from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from tests.sandbox.server import Control

_PATIENCE = 30
#: `before`: the request is lost. `after`: its answer is. `late`: it arrives when it is let through.
How = Literal["before", "after", "late"]


class Wire:
    """Forwards every request; the one numbered `breaks_at` (from 1) gets no answer."""

    def __init__(self, upstream: str, *, breaks_at: int, how: How) -> None:
        self._upstream, self._breaks_at, self._how = urlsplit(upstream), breaks_at, how
        self._counting = threading.Lock()
        self._seen = 0
        self._arrived, self._let_through = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def broke(self) -> bool:
        """Whether the request at which it breaks ever came."""
        return self._seen >= self._breaks_at

    def wait(self) -> None:
        """Return once the request at which it breaks has come."""
        assert self._arrived.wait(_PATIENCE), "the request never came"

    def let_through(self) -> None:
        """Deliver what was held back."""
        self._let_through.set()

    def run(self) -> None:
        """Serve until `close`."""
        self._server.serve_forever(poll_interval=0.02)

    def close(self) -> None:
        """End when everything was forwarded."""
        self.let_through()
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._counting:
            self._seen += 1
            breaks = self._seen == self._breaks_at
        if breaks:
            self._arrived.set()
            if self._how == "before":
                return
            if self._how == "late":
                self._let_through.wait(_PATIENCE)
        link = http.client.HTTPConnection(
            str(self._upstream.hostname), self._upstream.port, timeout=_PATIENCE
        )
        link.request(handler.command, handler.path, body, dict(handler.headers))
        answer = link.getresponse()
        content = answer.read()
        link.close()
        if breaks and self._how == "after":
            return
        with suppress(OSError):  # who asked may have gone away
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "date", "server"}:
                    handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 (the name http.server calls)
                wire._forward(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


@contextmanager
def breaking(sandbox: Control, *, at: int, how: How, slots: int | None = None) -> Iterator[Wire]:
    """Let the installation's request number `at` go unanswered, or arrive late."""
    wire = Wire(sandbox.url, breaks_at=at, how=how)
    serving = threading.Thread(target=wire.run)
    serving.start()
    transport = Transport(api_key=settings.STRIPE_API_KEY, base_url=wire.url, slots=slots)
    try:
        with clients.swapped("stripe", StripeGateway(transport)):
            yield wire
    finally:
        wire.close()
        serving.join(_PATIENCE)
