"""A wire to the sandbox that breaks at a chosen request: lost, unanswered, or far too late."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

from django.conf import settings

from billing.stripe_gateway import StripeGateway
from billing.stripe_gateway.callers import Callers
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from tests.sandbox.server import Control

_PATIENCE = 30
#: `before`: the request is lost. `after`: its answer is. `late`: it arrives when it is let
#: through. `stray`: the same, and who sent it is cut off at once. `held`: it took effect,
#: and its answer arrives when it is let through.
How = Literal["before", "after", "late", "stray", "held"]


class Wire:
    """Forwards every request but one.

    It breaks at the request of that number (from 1), or at the first whose
    `METHOD path` begins with that text.
    """

    def __init__(self, upstream: str, *, breaks_at: int | str, how: How) -> None:
        self.broke = False
        self._upstream, self._breaks_at, self._how = urlsplit(upstream), breaks_at, how
        self._counting = threading.Lock()
        self._seen = 0
        self._arrived, self._let_through = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # so that `close` waits for what is under way
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def wait(self) -> None:
        """Return once the request at which it breaks has come."""
        assert self._arrived.wait(_PATIENCE), "the request never came"

    def comes_before(self, answers: Callable[[], Iterable[object]]) -> bool:
        """Return whether the request came; False once there is an answer without it."""

        def watch() -> None:
            for _ in answers():
                self._arrived.set()

        threading.Thread(target=watch, daemon=True).start()
        self.wait()
        return self.broke

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
        breaks = self._breaks(f"{handler.command} {handler.path}")
        if breaks and self._how in ("before", "late", "stray"):
            self._arrived.set()
            if self._how == "before":
                return
            if self._how == "stray":
                handler.connection.shutdown(socket.SHUT_RDWR)
            self._let_through.wait(_PATIENCE)
        link = http.client.HTTPConnection(
            str(self._upstream.hostname), self._upstream.port, timeout=_PATIENCE
        )
        link.request(handler.command, handler.path, body, dict(handler.headers))
        answer = link.getresponse()
        content = answer.read()
        link.close()
        if breaks and self._how in ("after", "held"):
            self._arrived.set()
            if self._how == "after":
                return
            self._let_through.wait(_PATIENCE)
        with suppress(OSError):  # who asked may have gone away
            handler.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "date", "server"}:
                    handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)

    def _breaks(self, request: str) -> bool:
        with self._counting:
            self._seen += 1
            at = self._breaks_at
            here = self._seen == at if isinstance(at, int) else request.startswith(at)
            breaks = here and not self.broke
            self.broke |= here
        return breaks

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
def wired(sandbox: Control, *, at: int | str, how: How) -> Iterator[Wire]:
    """Run such a wire, for whoever is told its URL."""
    wire = Wire(sandbox.url, breaks_at=at, how=how)
    serving = threading.Thread(target=wire.run)
    serving.start()
    try:
        yield wire
    finally:
        wire.close()
        serving.join(_PATIENCE)


@contextmanager
def breaking(
    sandbox: Control, *, at: int | str, how: How, callers: Callers | None = None
) -> Iterator[Wire]:
    """Run such a wire between this process's gateway and the sandbox."""
    with wired(sandbox, at=at, how=how) as wire:
        transport = Transport(api_key=settings.STRIPE_API_KEY, base_url=wire.url, callers=callers)
        with clients.swapped("stripe", StripeGateway(transport)):
            yield wire
