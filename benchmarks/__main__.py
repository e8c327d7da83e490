"""`python -m benchmarks [--seconds N] [--rounds N] [--connections N] [--json]`

`python -m benchmarks webhooks` measures the processing of events instead, `rollover` many
organisations due at once beside ingest, `reconcile` proving a million events, `callers` who
is refused while a healthy Stripe takes its time, `edge` one customer's check while others
crowd in, `front` what our way of serving costs beside granian's own.
"""

import argparse
import json
import os
import statistics
import sys

from benchmarks import callers, cases, edge, front, reconcile, rollover, webhooks
from benchmarks.load import Route, rate
from benchmarks.servers import manage, serving

#: What is measured, and what stands beside it in each round.
PAIRS = (
    ("check", "bare valkey"),
    ("denial", "bare valkey"),
    ("usage", "bare sql"),
    ("batch", "bare sql"),
)


def main() -> None:
    """Measure each route beside its bare view, round by round, and print medians and ratios."""
    asked = _arguments()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    org_id, token = cases.prepare()
    spent = cases.prepare(included=0)
    with (
        edge.serving(workers=1) as (product, _),
        serving("benchmarks.bare:application") as bare,
    ):
        routes = cases.product_routes(org_id, token, product) | cases.bare_routes(bare)
        routes["denial"] = cases.denial(*spent, product)
        for route in routes.values():
            rate(route, seconds=min(1.0, asked.seconds), connections=asked.connections)
        found = [_compare(routes[ours], routes[theirs], asked) for ours, theirs in PAIRS]
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{'route':<8}{'req/s':>10}  {'beside':<14}{'req/s':>10}{'ratio':>8}   min to max")
    for row in found:
        print(
            f"{row['route']:<8}{row['rate']:>10.0f}  {row['beside']:<14}{row['beside_rate']:>10.0f}"
            f"{row['ratio']:>8.2f}   {row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        )
    print(
        f"\nratio: requests of ours per request of the bare view, median of {asked.rounds} rounds"
        f" side by side; a batch counts {cases.BATCH} events, so {cases.BATCH} times its ratio"
        " is events per bare insert."
    )


def _compare(ours: Route, theirs: Route, asked: argparse.Namespace) -> dict[str, str | float]:
    pairs = []
    for _ in range(asked.rounds):
        pairs.append(
            tuple(
                rate(one, seconds=asked.seconds, connections=asked.connections)
                for one in (ours, theirs)
            )
        )
    ratios = [mine / other for mine, other in pairs]
    return {
        "route": ours.name,
        "rate": statistics.median(mine for mine, _ in pairs),
        "beside": theirs.name,
        "beside_rate": statistics.median(other for _, other in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="how often each pair is measured")
    parser.add_argument("--connections", type=int, default=4, help="clients at once")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


OTHERS = {
    "callers": callers.main,
    "webhooks": webhooks.main,
    "rollover": rollover.main,
    "reconcile": reconcile.main,
    "edge": edge.main,
    "front": front.main,
}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in OTHERS:
        OTHERS[sys.argv[1]](sys.argv[2:])
    else:
        main()
