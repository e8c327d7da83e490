"""`python -m benchmarks edge [--seconds N] [--only NAME] [--json]`

What one customer's check costs while others crowd in: its p95 in quiet, and beside 12
dripping sockets, 200 connections of one organisation on each heavy route, strangers with
bad tokens, and 12 clients that fetch the OpenAPI document again and again.
"""

import argparse
import json
import multiprocessing
import os
import selectors
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any, NamedTuple

from benchmarks import cases
from benchmarks.load import Pace, Route
from benchmarks.servers import free_port, listens, manage, running

#: The goal: the p95 of a check beside any of these, over its quiet p95.
GOAL = 3.0
_EACH_SECOND = 40
_CROWD = 200
#: What a crowd may be answered: what it asks for, and that there is no room or no time.
_OF_KNOWN = {200, 408, 503}
_OF_STRANGERS = {401, 408, 429, 503}


def main(words: list[str]) -> None:
    """Measure each crowd beside a quiet baseline of its own, and print the table."""
    parser = argparse.ArgumentParser(prog="./dev bench edge", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--only", help="one crowd, by a part of its name")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(words)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    crowded, calm = cases.prepare(), cases.prepare()
    rows: list[dict[str, Any]] = []
    with serving() as (port, _):
        period_key = _seed(crowded, port)
        check = cases.product_routes(*calm, port)["check"]
        _p95(check, 2.0)  # warm
        for name, (request, connections, drips) in crowds(*crowded, period_key).items():
            if options.only and options.only not in name:
                continue
            quiet = _p95(check, options.seconds)
            with flood(port, request, connections, drips) as statuses:
                loaded = _p95(check, options.seconds)
            rows.append(
                {
                    "crowd": name,
                    "quiet": quiet,
                    "loaded": loaded,
                    "ratio": loaded / quiet,
                    "answers": statuses,
                }
            )
            _believe(rows[-1])
            if not options.json:
                _say(rows[-1], first=len(rows) == 1)
            time.sleep(3.0)  # let what still waits be worked off
    if options.json:
        print(json.dumps(rows))
    elif rows:
        worst = max(rows, key=lambda row: row["ratio"])
        print(f"\nworst {worst['ratio']:.1f} of at most {GOAL:.1f}: {worst['crowd']}")


def _say(row: dict[str, Any], *, first: bool) -> None:
    if first:
        print(f"{'beside':<40}{'quiet p95':>11}{'loaded p95':>12}{'ratio':>7}  the crowd's answers")
    quiet, loaded = row["quiet"] * 1000, row["loaded"] * 1000
    answers = ", ".join(f"{number} x {status}" for status, number in row["answers"].items())
    print(
        f"{row['crowd']:<40}{quiet:>8.1f} ms{loaded:>9.1f} ms{row['ratio']:>7.1f}  {answers}",
        flush=True,
    )


def _believe(row: dict[str, Any]) -> None:
    """Stop where a crowd was not answered what it is to be answered: it would weigh nothing."""
    expected = _OF_STRANGERS if "bad token" in row["crowd"] else _OF_KNOWN
    if not set(row["answers"]) <= expected:
        raise SystemExit(f"{row['crowd']}: answered {row['answers']}")


class Served(NamedTuple):
    """Where the product listens, and its process."""

    port: int
    pid: int


@contextmanager
def serving(*, workers: int = 2) -> Iterator[Served]:
    """Serve the product as it is shipped."""
    port = free_port()
    command = ["python", "-m", "config.edge", "--port", str(port), "--workers", str(workers)]
    env = {"PROCESS_ROLE": "web", "LOG_LEVEL": "ERROR"}
    with running(command, ready=lambda: listens(port), env=env, log=os.devnull) as pid:
        yield Served(port, pid)


def crowds(org_id: str, token: str, period_key: str) -> dict[str, tuple[bytes, int, bool]]:
    """Return each crowd: the request it sends, on how many connections, and whether it drips."""
    day = datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")

    def event(number: int) -> dict[str, object]:
        return {
            "metric": "api_call",
            "value": 1,
            "occurredAt": datetime.now(UTC).isoformat(),
            "request_id": f"crowd-{number}",
        }

    def get(path: str, bearer: str = token) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n".encode()

    def post(path: str, body: object, bearer: str = token) -> bytes:
        encoded = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n\r\n"
        )
        return head.encode() + encoded

    check = {"orgId": org_id, "metric": "api_call"}
    dripping = (
        b"POST /api/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 60000\r\n\r\n{"
    )
    batch = {"orgId": org_id, "events": [event(n) for n in range(1000)]}
    heavy = {
        "batch of 1,000": post("/api/v1/usage/batch", batch),
        "statement": get(f"/api/statements?periodKey={period_key}"),
        "series by hour": get(f"/api/v1/usage/series?metric=api_call&from={day}&by=hour"),
        "list of uses": get("/api/v1/usage?limit=1000"),
        "entitlements": get("/api/me/entitlements"),
        "check": post("/api/quota/check", check),
        "one use, again and again": post("/api/v1/usage", {"orgId": org_id, **event(1000)}),
        "check with a bad token": post("/api/quota/check", check, bearer="x" * 600),
        "refresh with a bad token": post("/api/tokens/refresh", {"refreshToken": "mgr_x"}),
    }
    return {
        "12 dripping sockets": (dripping, 12, True),
        **{f"{_CROWD} x {name}": (request, _CROWD, False) for name, request in heavy.items()},
        "12 x the OpenAPI document": (get("/api/schema"), 12, False),
    }


def _seed(crowded: tuple[str, str], port: int) -> str:
    """Give the crowd's organisation some use; returns the key of its period."""
    from benchmarks.load import rate

    batch = cases.product_routes(*crowded, port)["batch"]
    rate(batch, seconds=4.0, connections=2)
    link = HTTPConnection("127.0.0.1", port, timeout=30)
    link.request("GET", "/api/me/entitlements", headers={"Authorization": f"Bearer {crowded[1]}"})
    key: str = json.load(link.getresponse())["data"]["periodKey"]
    link.close()
    return key


def _p95(route: Route, seconds: float) -> float:
    """Return the 95th percentile of the seconds that answers took, at a steady pace."""
    with Pace(route, each_second=_EACH_SECOND, connections=4) as pace:
        time.sleep(seconds)
        taken = pace.taken()
    return statistics.quantiles(taken, n=20)[-1]


@contextmanager
def flood(port: int, request: bytes, connections: int, drips: bool) -> Iterator[dict[int, int]]:
    """Keep so many connections busy with a request, from a process of its own.

    Yields a mapping that holds, afterwards, how often each status was answered.
    """
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    receiver, sender = context.Pipe(duplex=False)
    crowd = context.Process(target=_crowd, args=(port, request, connections, drips, stop, sender))
    crowd.start()
    if not receiver.poll(60):
        raise SystemExit("The crowd did not come")
    receiver.recv()  # all are there
    time.sleep(1.0)  # and keep the server busy
    statuses: dict[int, int] = {}
    try:
        yield statuses
    finally:
        stop.set()
        if receiver.poll(20):
            statuses |= receiver.recv()
        crowd.join(20)
        if crowd.is_alive():
            crowd.kill()


def _crowd(  # noqa: PLR0913 - the arguments of a process
    port: int, request: bytes, connections: int, drips: bool, stop: Any, sender: Any
) -> None:
    selector = selectors.DefaultSelector()
    statuses: Counter[int] = Counter()
    for _ in range(connections):
        _join(selector, port, request)
    sender.send(None)
    dripped = time.monotonic()
    while not stop.is_set():
        for key, _mask in selector.select(timeout=0.2):
            link: socket.socket = key.fileobj  # type: ignore[assignment]
            try:
                chunk = link.recv(262_144)
                if not chunk:
                    raise ConnectionError
                received: list[bytes] = key.data
                received.append(chunk)
                if _is_whole(received):
                    statuses[int(received[0][9:12])] += 1
                    received.clear()
                    link.sendall(request)
            except OSError:
                selector.unregister(link)
                link.close()
                _join(selector, port, request)
        if drips and time.monotonic() - dripped > 1.0:
            dripped = time.monotonic()
            for key in list(selector.get_map().values()):
                try:
                    key.fileobj.send(b" ")  # type: ignore[union-attr]
                except OSError:
                    continue
    sender.send(dict(sorted(statuses.items())))


def _join(selector: selectors.BaseSelector, port: int, request: bytes) -> None:
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    link.sendall(request)
    selector.register(link, selectors.EVENT_READ, [])


def _is_whole(received: list[bytes]) -> bool:
    """Tell whether the pieces are one whole answer; looks at the first and at their lengths."""
    head, separator, _ = received[0].partition(b"\r\n\r\n")
    if not separator:
        received[:] = [b"".join(received)]
        head, separator, _ = received[0].partition(b"\r\n\r\n")
    at = head.lower().find(b"content-length:")
    if not separator or at < 0:
        return False
    length = int(head[at + 15 :].split(b"\r\n", 1)[0])
    return sum(map(len, received)) >= len(head) + len(separator) + length
