"""`./dev bench rollover`: so many organisations due at once, and what that does to ingest.

Ingest runs at a steady pace all the while: before, during and after the rollover, in
one run, so that the machine is the same. The rollover is `manage.py rollover_periods` in a
process of its own, first for a tenth of the organisations and then for all of them: its
peak memory must be the same.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import django

from benchmarks import cases
from benchmarks.load import Pace
from benchmarks.servers import ROOT, manage, serving

# On two metrics each, with last month's counters, which are to be closed.
_ORGANISATIONS = """
INSERT INTO quotas_entitlement (
    org_id, plan_code, status, status_since, status_because, allowances, allowances_since,
    prior_allowances, period_rule, anchor_at, cuts, scheduled_plan_code,
    scheduled_period_rule, started_at, version, updated_at)
SELECT %(prefix)s || n, 'pro', 'active', t, 'benchmark',
       '{"api_call": {"included": 100, "overage": "block"},
         "compute_ms": {"included": 100, "overage": "block"}}', t,
       '{}', 'calendar_month', t, '[]', '', '', t, 1, t
  FROM generate_series(1, %(many)s) AS n, (SELECT now() - interval '2 months') AS s (t)
"""
_LAST_MONTH = """
INSERT INTO quotas_usagecounter (
    org_id, metric, period_key, period_start, period_end, counted, forgiven, forgiven_version,
    included, adjusted, overage, access, valid_until, version, created_at, updated_at)
SELECT %(prefix)s || n, m, to_char(t, 'YYYY-MM'), t, t + interval '1 month', 0, 0, 0,
       100, 0, 'block', true, t + interval '1 month', 1, t, t
  FROM generate_series(1, %(many)s) AS n, unnest(ARRAY['api_call', 'compute_ms']) AS m,
       (SELECT date_trunc('month', now() - interval '1 month')) AS s (t)
"""


@dataclass(frozen=True, slots=True)
class Rolled:
    """One rollover: what it did, how long it took, and the most memory it held."""

    organisations: int
    seconds: float
    processor_seconds: float
    peak_mib: float
    said: str


def main(arguments: list[str]) -> None:
    """Measure and print."""
    asked = _arguments(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    org_id, token = cases.prepare()
    django.setup()
    with serving("config.wsgi:application", PROCESS_ROLE="web") as product:
        usage = cases.product_routes(org_id, token, product)["usage"]
        with Pace(usage, each_second=asked.pace, connections=4) as ingest:
            time.sleep(2)  # connections and caches are warm after that
            _make_due("small_", asked.organisations // 10)
            small = _roll_over(asked.organisations // 10)
            _make_due("all_", asked.organisations)
            ingest.taken()
            time.sleep(asked.seconds)
            before = ingest.taken()
            rolled = _roll_over(asked.organisations)
            during = ingest.taken()
            time.sleep(asked.seconds)
            after = ingest.taken()
    waits = {"before": before, "during": during, "after": after}
    quantiles = {name: [_quantile(taken, q) for q in (0.5, 0.99)] for name, taken in waits.items()}
    if asked.json:
        print(json.dumps({"small": asdict(small), "all": asdict(rolled), "ingest": quantiles}))
        return
    for one in (small, rolled):
        print(
            f"{one.organisations:>8} organisations: {one.seconds:.1f} s,"
            f" {one.organisations / one.seconds:.0f} a second,"
            f" {one.processor_seconds:.1f} s of processor time, peak {one.peak_mib:.0f} MiB"
            f" ({one.said})"
        )
    for name, (half, most) in quantiles.items():
        print(
            f"ingest {name:<7} {len(waits[name]):>6} requests,"
            f" p50 {half * 1000:.1f} ms, p99 {most * 1000:.1f} ms"
        )


def _make_due(prefix: str, many: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for statement in (_ORGANISATIONS, _LAST_MONTH):
            cursor.execute(statement, {"prefix": prefix, "many": many})
    connection.close()


def _roll_over(many: int) -> Rolled:
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "manage.py", "rollover_periods"],
        cwd=ROOT,
        env={**os.environ, "PROCESS_ROLE": "worker"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    said = process.stdout.read().strip()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the rollover failed")
    return Rolled(
        organisations=many,
        seconds=time.perf_counter() - started,
        processor_seconds=used.ru_utime + used.ru_stime,
        peak_mib=used.ru_maxrss / 1024,
        said=said,
    )


def _quantile(taken: list[float], q: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(q * len(taken)))]


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench rollover", description=__doc__)
    parser.add_argument("--organisations", type=int, default=100_000)
    parser.add_argument("--pace", type=float, default=50, help="ingest requests per second")
    parser.add_argument("--seconds", type=float, default=15, help="of ingest before and after")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(arguments)
