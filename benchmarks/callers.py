"""`python -m benchmarks callers`: how many requests that ask a slow, healthy Stripe are refused.

Requests of one Stripe call each (`POST /api/payments/setup`), of an organisation each,
come at random moments (the same in each run), whether or not the ones before were
answered, at two web processes; beside them quota checks at 50 a second, which must not notice.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import cases
from benchmarks.load import Pace
from benchmarks.servers import free_port, listens, manage, running

_CHECKS_EACH_SECOND = 50


def main(words: Sequence[str]) -> None:
    """Measure each pace in turn, the checks without any call first, and print them."""
    asked = _arguments(words)
    with _serving(asked) as (port, orgs):
        check = cases.product_routes(*cases.prepare(), port)["check"]
        with Pace(check, each_second=_CHECKS_EACH_SECOND, connections=4) as pace:
            time.sleep(2)  # both processes have answered once
            rows = []
            for rate in (0.0, *asked.rates):
                pace.taken()
                statuses, seconds = _call(port, orgs, rate, asked.seconds)
                rows.append((rate, statuses, seconds, pace.taken()))
    print("calls/s  answered  refused   answer p50     p99    check p50      p99")
    for rate, statuses, seconds, checks in rows:
        refused = sum(count for status, count in statuses.items() if status != 200)
        answer = f"{_part(seconds, 0.5):>9.2f} s {_part(seconds, 0.99):>6.2f} s" if seconds else ""
        print(
            f"{rate:>7g} {statuses[200]:>9} {refused:>8}   {answer:<20}"
            f"{_part(checks, 0.5) * 1000:>6.1f} ms {_part(checks, 0.99) * 1000:>5.1f} ms"
        )


def _call(
    port: int, orgs: Sequence[tuple[str, str]], rate: float, seconds: float
) -> tuple[Counter[int], list[float]]:
    """Make `rate` calls a second, each by a thread of its own; returns statuses and seconds."""
    statuses, taken = Counter[int](), list[float]()

    def call(org_id: str, token: str) -> None:
        began = time.perf_counter()
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"http://127.0.0.1:{port}/api/payments/setup",
            json.dumps({"orgId": org_id}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                statuses[answer.status] += 1
        except urllib.error.HTTPError as refusal:
            statuses[refusal.code] += 1
        taken.append(time.perf_counter() - began)

    if not rate:
        time.sleep(seconds)
        return statuses, taken
    threads = []
    gaps = random.Random(rate)  # noqa: S311 - not a secret
    due = time.perf_counter()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, due - time.perf_counter()))
        threads.append(threading.Thread(target=call, args=orgs[number % len(orgs)]))
        threads[-1].start()
        due += gaps.expovariate(rate)
    for thread in threads:
        thread.join()
    return statuses, taken


@contextmanager
def _serving(asked: argparse.Namespace) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Run the sandbox and the web processes; yields the port, and owners with their tokens."""
    port, sandbox_port = free_port(), free_port()
    sandbox_url = f"http://127.0.0.1:{sandbox_port}"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SANDBOX_URL": sandbox_url,
        "SANDBOX_WEBHOOK_URL": "",
        "PORT": str(port),
    }
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    web = ["python", "-m", "config.edge", "--host", "127.0.0.1", "--port", str(port)]
    with ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "web.log"
        stack.enter_context(
            running(
                ["python", "-m", "billing.sandbox"],
                ready=lambda: listens(sandbox_port),
                env={"PROCESS_ROLE": "sandbox"},
            )
        )
        stack.enter_context(
            running(web, ready=lambda: listens(port), log=log, env={"PROCESS_ROLE": "web"})
        )
        orgs = [_owner(port, number) for number in range(asked.organisations)]
        _slow_down(sandbox_url, asked.stripe)
        yield port, orgs


def _owner(port: int, number: int) -> tuple[str, str]:
    made = _post(port, "/api/signup", {"orgName": "Bench", "email": f"bench{number}@acme.example"})
    tokens = _post(port, "/api/tokens/activate", {"activationCode": made["activationCode"]})
    return made["orgId"], tokens["accessToken"]


def _post(port: int, path: str, body: dict[str, str]) -> dict[str, str]:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        data: dict[str, str] = json.load(answer)["data"]
    return data


def _slow_down(sandbox_url: str, seconds: float) -> None:
    """Let the sandbox take so long for each request from now on."""
    from django.conf import settings

    fault = {"kind": "slow", "count": -1, "path": "*", "method": "%", "seconds": seconds}
    request = urllib.request.Request(  # noqa: S310 - our own sandbox
        f"{sandbox_url}/_sandbox/faults",
        json.dumps(fault).encode(),
        {"Authorization": f"Bearer {settings.STRIPE_API_KEY}"},
    )
    urllib.request.urlopen(request, timeout=60).close()  # noqa: S310


def _part(values: Sequence[float], part: float) -> float:
    if part == 0.5:  # noqa: PLR2004 - the median
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench callers", description=__doc__)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0], help="calls a second"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each pace")
    parser.add_argument("--stripe", type=float, default=0.4, help="seconds of a call to Stripe")
    parser.add_argument("--organisations", type=int, default=8, help="that call in turn")
    return parser.parse_args(words)
