"""What no HTTP client would send, and what comes back for it."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.live import Live

#: Longer than anything here takes on a busy machine.
PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The code of the error it holds."""
        code: str = json.loads(self.body)["error"]["code"]
        return code

    @property
    def data(self) -> Any:
        """The data it holds."""
        return json.loads(self.body)["data"]


class Wire:
    """A connection to write raw bytes to."""

    def __init__(self, live: Live, *, window: int | None = None) -> None:
        parts = urlsplit(live.base)
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if window is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.connect((parts.hostname, parts.port))
        self._file = self.socket.makefile("rb")

    def send(self, *parts: str | bytes) -> None:
        """Write so many pieces."""
        joined = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
        self.socket.sendall(joined)

    def receive(self) -> Answer:
        """Read one response."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        return Answer(status, headers, body)

    def is_closed(self) -> bool:
        """Tell whether the server hangs up without another word; waits for it."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def is_known_to_server(self) -> bool:
        """Tell whether the server has this connection open, without reading or writing."""
        (_, client), (_, server) = self.socket.getsockname(), self.socket.getpeername()
        ends = (f":{server:04X}", f":{client:04X}")
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return any((line[1][8:], line[2][8:]) == ends for line in lines)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()


@contextmanager
def wire(live: Live, *, window: int | None = None) -> Iterator[Wire]:
    """Connect for the block; `window` bounds how much the kernel takes in for us."""
    link = Wire(live, window=window)
    try:
        yield link
    finally:
        link.close()


def head(method: str, path: str, *lines: str, host: str = "metergate.example.com") -> str:
    """Return a request's head."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""])


def post(path: str, body: bytes, *lines: str) -> bytes:
    """Return a whole request with a JSON body."""
    about = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return head("POST", path, *about, *lines).encode() + body


def ask(live: Live, *parts: str | bytes) -> Answer:
    """Send one request on a connection of its own and return what is answered."""
    with wire(live) as link:
        link.send(*parts)
        return link.receive()


def in_chunks(body: bytes, size: int) -> bytes:
    """Return a body as `Transfer-Encoding: chunked` writes it."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])
