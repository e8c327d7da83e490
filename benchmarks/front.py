"""`python -m benchmarks front [--seconds N] [--rounds N] [--connections N ...] [--json]`

Processor time per request of the web process as it is shipped, beside the same application
under granian's own WSGI server with four threads, which reads bodies in its threads and so
stops with four dripping sockets. Both run at once and are asked in turn.
"""

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import cases, edge
from benchmarks.load import drive
from benchmarks.processor_time import seconds_of
from benchmarks.servers import free_port, listens, manage, running

_ROUTES = ("check", "usage")


def main(words: Sequence[str]) -> None:
    """Measure both, round by round, and print medians and their ratio."""
    options = _options(words)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    owners = cases.prepare(), cases.prepare()
    port = free_port()
    plain = [
        *("granian", "--interface", "wsgi", "config.wsgi:application", "--no-ws"),
        *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
        *("--workers", "1", "--blocking-threads", "4"),
    ]
    env = {"PROCESS_ROLE": "web", "LOG_LEVEL": "ERROR"}
    with (
        edge.serving(workers=1) as ours,
        running(plain, ready=lambda: listens(port), env=env) as wsgi,
    ):
        sides = (
            (ours.pid, cases.product_routes(*owners[0], ours.port)),
            (wsgi, cases.product_routes(*owners[1], port)),
        )
        rows = [
            _compare(name, connections, sides, options)
            for name in _ROUTES
            for connections in options.connections
        ]
    if options.json:
        print(json.dumps(rows))
        return
    heads = f"{'edge':>10}{'wsgi':>10}{'ratio':>7}{'min to max':>15}{'req/s':>9}"
    print(f"{'route':<8}{'links':>6}{heads}")
    for row in rows:
        span = f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        print(
            f"{row['route']:<8}{row['connections']:>6}{row['edge']:>7.0f} us{row['wsgi']:>7.0f} us"
            f"{row['ratio']:>7.2f}{span:>15}{row['faster']:>8.2f}x"
        )


def _compare(
    name: str, connections: int, sides: Sequence[tuple[int, Any]], options: argparse.Namespace
) -> dict[str, Any]:
    costs: list[list[float]] = []
    rates: list[list[float]] = []
    for number in range(options.rounds + 1):
        cost, rate = [], []
        for pid, routes in sides if number % 2 else sides[::-1]:
            before = seconds_of(pid)
            requests, taken = drive(routes[name], seconds=options.seconds, connections=connections)
            cost.append((seconds_of(pid) - before) / requests * 1e6)
            rate.append(requests / taken)
        if number:  # the first warms both
            costs.append(cost if number % 2 else cost[::-1])
            rates.append(rate if number % 2 else rate[::-1])
    ratios = [edge_cost / wsgi_cost for edge_cost, wsgi_cost in costs]
    return {
        "route": name,
        "connections": connections,
        "edge": statistics.median(cost for cost, _ in costs),
        "wsgi": statistics.median(cost for _, cost in costs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "faster": statistics.median(mine / other for mine, other in rates),
    }


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench front", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=6, help="how often each pair is measured")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[1, 4, 8], help="clients at once"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(words)
