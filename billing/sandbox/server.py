"""A small HTTP server for the application, and the threads that move by themselves.

Built on `wsgiref` because a fault must be able to close the connection without an
answer, which a server that owns the sockets does not let an application do.
"""

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from socketserver import ThreadingMixIn
from typing import IO, Any, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from billing.sandbox import outbox, timeline
from billing.sandbox.api import ConnectionCut
from billing.sandbox.app import App
from billing.sandbox.config import Config
from billing.sandbox.database import Database
from billing.sandbox.store import Store

_log = logging.getLogger(__name__)

#: More than wait for each other: slow answers on order must not block the others.
_THREADS = 16
#: Seconds between two looks at what has become due.
_TICK = 0.25


class _Handler(ServerHandler):
    """Lets ConnectionCut close the connection; logs other failures without their input."""

    # Says that the connection ends with the answer, which it does.
    http_version = "1.0"

    def handle_error(self) -> None:
        import sys

        if isinstance(sys.exc_info()[1], ConnectionCut):
            self.close()
            return
        _log.exception("request failed")
        super().handle_error()

    def log_exception(self, exc_info: Any) -> None:
        """Say nothing: handle_error has."""

    def close(self) -> None:
        """End the request; not as ServerHandler does, which logs a status that a cut one lacks."""
        SimpleHandler.close(self)


class _RequestHandler(WSGIRequestHandler):
    timeout = 30

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        handler = _Handler(
            cast(IO[bytes], self.rfile),
            cast(IO[bytes], self.wfile),
            self.get_stderr(),
            self.get_environ(),
            multithread=True,
        )
        handler.request_handler = self  # type: ignore[attr-defined]
        app = self.server.get_app()  # type: ignore[attr-defined]
        handler.run(app)

    def address_string(self) -> str:
        # The default asks the name service for every request.
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a request line can carry an id nobody needs in a log."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _RequestHandler)
        self._workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="sandbox")

    def server_bind(self) -> None:
        # WSGIServer looks the host name up; loopback has none worth waiting for.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._workers.submit(self.process_request_thread, request, client_address)

    def server_close(self) -> None:
        super().server_close()
        self._workers.shutdown(wait=False, cancel_futures=True)


class Sandbox:
    """A running sandbox: `start`, then `stop`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.database = Database(config)
        self.app = App(self.database, config)
        self._server: _Server | None = None
        self._stopping = threading.Event()
        self._running: list[threading.Thread] = []

    def start(self) -> None:
        """Open the database, the port and the threads."""
        self.database.open()
        self.app.control.prepare()
        self._server = _Server((self.config.host, self.config.port))
        self._server.set_app(self.app)
        work: list[Callable[[], None]] = [self._server.serve_forever]
        if self.config.background:
            work += [self._deliver_for_ever, self._tick_for_ever]
        for target in work:
            thread = threading.Thread(target=target, daemon=True, name="sandbox")
            thread.start()
            self._running.append(thread)

    def stop(self) -> None:
        """Stop answering, let the threads end, close the database."""
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for thread in self._running:
            thread.join(timeout=5)
        self.database.close()

    def _deliver_for_ever(self) -> None:
        self._repeat("delivery", lambda: outbox.deliver(self.database, self.config))

    def _tick_for_ever(self) -> None:
        def tick() -> None:
            with self.database.transaction() as connection:
                now = Store(connection, self.config).at
            while timeline.step(self.database, self.config, now):
                pass

        self._repeat("clock", tick)

    def _repeat(self, name: str, work: Any) -> None:
        while not self._stopping.wait(_TICK):
            try:
                work()
            except Exception:
                # The next round tries again; a fault of the database passes.
                _log.exception("%s failed", name)
                self._stopping.wait(5)
