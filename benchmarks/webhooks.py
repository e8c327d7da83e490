"""`./dev bench webhooks`: from an event to the converged state, and what an outage costs.

Web, worker, beat and the sandbox run as they do in production, on two cores and
with fsync on. Every answer is checked, and of every event that is marked as done,
that the mirror and the entitlement of its organisation are what Stripe has.
"""

import argparse
import http.client
import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import django

from benchmarks import lives
from benchmarks.lives import Delivery
from benchmarks.processor_time import parent_of, seconds_of
from benchmarks.servers import Broker, free_port, listens, manage, running

_PATH = "/api/webhooks/stripe"
#: Connections that deliver.
_SENDERS = 8
#: Seconds between two looks at what is done.
_LOOK = 0.1
_DONE = """
    SELECT event_id FROM webhooks_webhookevent
     WHERE state = 'processed' AND processed_at > now() - interval '5 seconds'
"""
#: Seconds after which something will never happen.
_PATIENCE = 300.0


@dataclass
class Found:
    """What one round came to: seconds to the answer, and to the converged state, per event."""

    answers: list[float] = field(default_factory=list)
    converged: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: Seconds of processor time, by process.
    used: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, float]:
        """Return the figures: milliseconds for answers, seconds for the rest."""
        events = len(self.converged)
        return {
            "events": events,
            "answer_p50_ms": 1000 * _quantile(self.answers, 0.5),
            "answer_p99_ms": 1000 * _quantile(self.answers, 0.99),
            "converged_p50_s": _quantile(self.converged, 0.5),
            "converged_p99_s": _quantile(self.converged, 0.99),
            "converged_max_s": max(self.converged),
            "events_per_s": events / self.seconds,
            **{f"{name}_cpu_ms": 1000 * used / events for name, used in self.used.items()},
        }


def main(words: Sequence[str]) -> None:
    """Measure, and print a table or one JSON document."""
    asked = _arguments(words)
    count = {
        "steady": int(asked.rate * asked.seconds),
        "flat out": asked.burst,
        "broker down": asked.outage,
        "broker hanging": asked.outage // 5,
    }
    with _plant(asked.concurrency) as plant:
        told = iter(lives.live(math.ceil(sum(count.values()) / lives.TOLD) + 1))
        take = {name: [next(told) for _ in range(many)] for name, many in count.items()}
        found = {"steady": _measure(plant, take["steady"], every=1 / asked.rate)}
        found["flat out"] = _measure(plant, take["flat out"])
        plant.broker.kill()
        found["broker down"] = _measure(plant, take["broker down"], then=plant.broker.start)
        plant.broker.hang()
        found["broker hanging"] = _measure(plant, take["broker hanging"], then=plant.broker.go_on)
    _print({name: one.row() for name, one in found.items()}, asked)


def _measure(
    plant: "Plant",
    deliveries: Sequence[Delivery],
    *,
    every: float = 0.0,
    then: Callable[[], None] | None = None,
) -> Found:
    """Deliver, one each `every` seconds, and watch until all of it is converged.

    An event's time begins when it is due, not when a connection was free for it;
    with `then`, which brings something back, it begins at that.
    """
    found = Found(used=plant.used())
    begun = time.perf_counter()
    due = {one.event_id: begun + n * every for n, one in enumerate(deliveries)}
    seen: dict[str, float] = {}
    watcher = threading.Thread(target=_watch, args=(deliveries, seen), daemon=True)
    watcher.start()
    with ThreadPoolExecutor(_SENDERS) as pool:
        deliver = partial(_deliver, plant.port)
        found.answers = list(pool.map(deliver, deliveries, due.values()))
    if then is not None:
        then()
        due = dict.fromkeys(due, time.perf_counter())
    watcher.join(_PATIENCE)
    if len(seen) != len(deliveries):
        raise SystemExit(f"{len(deliveries) - len(seen)} events were never done, or done wrongly")
    found.converged = [seen[event_id] - at for event_id, at in due.items()]
    found.used = {name: used - found.used[name] for name, used in plant.used().items()}
    found.seconds = max(seen.values()) - (begun if then is None else min(due.values()))
    return found


_connections = threading.local()


def _deliver(port: int, one: Delivery, due: float) -> float:
    """POST when it is due; returns the seconds to the answer. Raises AssertionError."""
    time.sleep(max(0.0, due - time.perf_counter()))
    link = getattr(_connections, "link", None)
    if link is None:
        link = _connections.link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json", "Stripe-Signature": one.signature()}
    began = time.perf_counter()
    link.request("POST", _PATH, one.body, headers)
    answer = link.getresponse()
    said = json.loads(answer.read())
    taken = time.perf_counter() - began
    assert answer.status == 202, said
    assert said["data"] == {"received": True, "eventId": one.event_id, "duplicate": False}, said
    return taken


def _watch(deliveries: Sequence[Delivery], seen: dict[str, float]) -> None:
    """Note when each event is done, once its subscription is as Stripe has it."""
    from django.db import connection

    missing = {one.event_id: one.subscription_id for one in deliveries}
    deadline = time.perf_counter() + _PATIENCE
    while missing and time.perf_counter() < deadline:
        # Few bytes and no ORM: looking must not slow down what is looked at.
        with connection.cursor() as cursor:
            cursor.execute(_DONE)
            done = {event_id for (event_id,) in cursor.fetchall() if event_id in missing}
            now = time.perf_counter()
            subscriptions = {missing[event_id] for event_id in done}
            right = lives.agreeing(cursor, subscriptions) if done else set()
        if right != subscriptions:
            break  # the caller misses these
        for event_id in done:
            seen[event_id] = now
            del missing[event_id]
        time.sleep(_LOOK)
    connection.close()


@dataclass
class Plant:
    """Everything, running: where the web listens, the broker, the pids of the others."""

    port: int
    broker: Broker
    pids: dict[str, int] = field(default_factory=dict)

    def used(self) -> dict[str, float]:
        """Return the seconds of processor time that each used so far."""
        used = {name: seconds_of(pid) for name, pid in self.pids.items()}
        # The others are children of this process.
        used["client"] -= sum(used[name] for name in self.pids.keys() - {"client", "postgres"})
        return used


@contextmanager
def _plant(concurrency: int) -> Iterator[Plant]:
    """Run everything."""
    port, sandbox_port = free_port(), free_port()
    plant = Plant(port, broker := Broker())
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
        # It delivers nothing: that is what is measured here.
        "SANDBOX_WEBHOOK_URL": "",
        "CELERY_BROKER_URL": broker.url,
        "PORT": str(port),
    }
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    django.setup()
    from billing.stripe_gateway import use_as_worker

    use_as_worker()
    celery = ["celery", "-A", "config.celery"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(broker.close)
        broker.start()

        def run(name: str, command: list[str], ready: Callable[[], bool], role: str) -> None:
            log = folder / f"{name}.log"
            plant.pids[name] = stack.enter_context(
                running(command, ready=ready, log=log, env={"PROCESS_ROLE": role})
            )

        sandbox = ["python", "-m", "billing.sandbox"]
        run("sandbox", sandbox, lambda: listens(sandbox_port), "sandbox")
        web = ["python", "-m", "config.edge", "--port", str(port)]
        run("web", web, lambda: listens(port), "web")
        worker = [*celery, "worker", "-l", "INFO", "--concurrency", str(concurrency)]
        worker += ["--without-gossip", "--without-mingle"]
        run("worker", worker, _gaps_are_filled, "worker")
        beat = [*celery, "beat", "--schedule", str(folder / "beat"), "--pidfile="]
        run("beat", beat, lambda: True, "worker")
        plant.pids |= {"postgres": _postgres(), "client": os.getpid()}
        yield plant


def _postgres() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [backend] = cursor.fetchone()
    return parent_of(backend)


def _gaps_are_filled() -> bool:
    """Tell whether the worker has compared with Stripe's list, and let it do so no more.

    Else it would take in at once what is to be delivered one by one.
    """
    from config.contract import clock
    from webhooks.models import EventCoverage

    now = clock.real_now()
    compared = EventCoverage.objects.filter(covered_to__isnull=False, lease_until__lte=now)
    return compared.update(lease_until=now + timedelta(days=1)) == 1


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def _print(rows: dict[str, dict[str, float]], asked: argparse.Namespace) -> None:
    if asked.json:
        print(json.dumps(rows))
        return
    print(
        f"{'':<15}{'events':>7}{'answer p50':>13}{'p99':>8}{'converged p50':>16}{'p99':>8}"
        f"{'max':>8}{'events/s':>10}"
    )
    for name, row in rows.items():
        print(
            f"{name:<15}{row['events']:>7}"
            f"{row['answer_p50_ms']:>10.1f} ms{row['answer_p99_ms']:>5.0f} ms"
            f"{row['converged_p50_s']:>14.2f} s{row['converged_p99_s']:>6.2f} s"
            f"{row['converged_max_s']:>6.2f} s{row['events_per_s']:>10.1f}"
        )
    print("\nprocessor time per event, in ms")
    for name, row in rows.items():
        used = {one[:-7]: ms for one, ms in row.items() if one.endswith("_cpu_ms")}
        each = "  ".join(f"{one} {ms:.1f}" for one, ms in used.items())
        print(f"{name:<15}{each}  all {sum(used.values()):.1f}")
    print(
        f"\nsteady: {asked.rate:g} events a second for {asked.seconds:g} s, from when each was due;"
        "\nbroker: delivered while it was away, converged counted from its return."
    )


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench webhooks", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="events a second that arrive")
    parser.add_argument("--seconds", type=float, default=20.0, help="for how long they arrive")
    parser.add_argument("--burst", type=int, default=1000, help="events delivered at once")
    parser.add_argument("--outage", type=int, default=500, help="events while the broker is away")
    parser.add_argument("--concurrency", type=int, default=2, help="processes of the worker")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(words)
