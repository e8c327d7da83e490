"""A customer's server: it takes webhooks on loopback and verifies them as the standard says."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Seconds that a receiver's clock may differ from the sender's.
_TOLERANCE = 300


@dataclass(frozen=True)
class Got:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The parsed body."""
        return json.loads(self.raw)

    def is_signed_with(self, secret: str) -> bool:
        """Verify it (github.com/standard-webhooks/standard-webhooks, spec): symmetric, v1."""
        sent_at = self.headers["webhook-timestamp"]
        if abs(time.time() - int(sent_at)) > _TOLERANCE:
            return False
        key = base64.b64decode(secret.split("_", 1)[1])
        signed = b".".join([self.headers["webhook-id"].encode(), sent_at.encode(), self.raw])
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        return any(
            hmac.compare_digest(signature.encode(), expected)
            for version, _, signature in (
                one.partition(",") for one in self.headers["webhook-signature"].split(" ")
            )
            if version == "v1"
        )


@dataclass
class Receiver:
    """Where it listens, what it got, and what it answers: each of `answers` once, then 204."""

    url: str
    got: list[Got] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    #: What happens as the next request has arrived, before it is answered.
    next_time: Callable[[], None] | None = None

    def answer(self, *statuses: int, **headers: str) -> None:
        """Answer the next requests with these."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers += [(status, named) for status in statuses]

    @property
    def ids(self) -> Sequence[str]:
        """The ids of what arrived, in order."""
        return [one.headers["webhook-id"] for one in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Listen on loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the library's name
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append(Got(self.path, headers, raw))
            happens, receiver.next_time = receiver.next_time, None
            if happens is not None:
                happens()
            status, more = receiver.answers.pop(0) if receiver.answers else (204, {})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **more}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hooks?of=acme")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
