"""A small client: keep-alive connections over loopback, each answer checked."""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Makes the body of the next request of a connection.
MakeBody = Callable[[], bytes]


@dataclass(frozen=True)
class Route:
    """What to ask, and how to tell that the answer is right."""

    name: str
    port: int
    path: str
    body: MakeBody
    is_right: Callable[[Any], bool]
    headers: str = ""
    status: int = 200


class _Connection:
    def __init__(self, route: Route) -> None:
        self.route = route
        self.socket = socket.create_connection(("127.0.0.1", route.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (
            f"POST {route.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{route.headers}"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self.buffer = b""

    def ask(self) -> None:
        """Send one request and check its answer. Raises AssertionError."""
        body = self.route.body()
        self.socket.sendall(self.head + str(len(body)).encode() + b"\r\n\r\n" + body)
        while b"\r\n\r\n" not in self.buffer:
            self._receive()
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        lowered = head.lower()
        at = lowered.index(b"content-length:") + 15
        length = int(lowered[at:].split(b"\r\n", 1)[0])
        while len(rest) < length:
            self._receive()
            rest = self.buffer[len(head) + 4 :]
        self.buffer = rest[length:]
        answer = json.loads(rest[:length])
        status = f"HTTP/1.1 {self.route.status} ".encode()
        assert head.startswith(status), (self.route.name, head[:30], answer)
        assert self.route.is_right(answer), (self.route.name, answer)

    def _receive(self) -> None:
        received = self.socket.recv(65536)
        assert received, f"{self.route.name}: the server hung up"
        self.buffer += received

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def rate(route: Route, *, seconds: float, connections: int) -> float:
    """Ask for `seconds` over so many connections at once; returns requests per second."""
    number, taken = drive(route, seconds=seconds, connections=connections)
    return number / taken


def drive(route: Route, *, seconds: float, connections: int) -> tuple[int, float]:
    """Ask for `seconds` over so many connections at once; returns requests, and seconds taken."""
    counts = [0] * connections
    faults: list[BaseException] = []
    links = [_Connection(route) for _ in range(connections)]
    started = time.perf_counter()
    until = started + seconds

    def ask(n: int) -> None:
        try:
            while time.perf_counter() < until:
                links[n].ask()
                counts[n] += 1
        except BaseException as fault:  # noqa: BLE001 - told to the caller below
            faults.append(fault)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - started
    for link in links:
        link.close()
    if faults:
        raise faults[0]
    return sum(counts), taken


class Pace:
    """Asks at a steady pace until told to stop, and keeps how long each answer took.

    Seconds are counted from when a request was due, so that a server which stalls
    is charged for all that it kept waiting, and not for one of them.
    """

    def __init__(self, route: Route, *, each_second: float, connections: int) -> None:
        self._gap = connections / each_second
        self._links = [_Connection(route) for _ in range(connections)]
        self._stop = threading.Event()
        self._taken: list[float] = []
        self._faults: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._drive, args=(n,)) for n in range(connections)
        ]

    def __enter__(self) -> "Pace":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for link in self._links:
            link.close()
        if self._faults:
            raise self._faults[0]

    def taken(self) -> list[float]:
        """Return the seconds of every answer since the last call."""
        self._taken, taken = [], self._taken
        return taken

    def _drive(self, n: int) -> None:
        due = time.perf_counter() + self._gap * n / len(self._links)
        try:
            while not self._stop.wait(max(0.0, due - time.perf_counter())):
                self._links[n].ask()
                self._taken.append(time.perf_counter() - due)
                due += self._gap
        except BaseException as fault:  # noqa: BLE001 - told to the caller at the end
            self._faults.append(fault)
