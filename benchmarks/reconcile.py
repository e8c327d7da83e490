"""`./dev bench reconcile`: proving a million events, its rate and the memory it takes."""

import argparse
import json
import os
import subprocess
import sys

import django

from benchmarks.servers import ROOT, manage

# As the application would have counted them, in this month so far.
_ENTITLEMENTS = """
INSERT INTO quotas_entitlement (
    org_id, plan_code, status, status_since, status_because, allowances, allowances_since,
    prior_allowances, period_rule, anchor_at, cuts, scheduled_plan_code,
    scheduled_period_rule, started_at, version, updated_at)
SELECT 'events_' || n, 'pro', 'active', t, 'benchmark',
       '{"api_call": {"included": 1000000, "overage": "block"}}', t,
       '{}', 'calendar_month', t, '[]', '', '', t, 1, t
  FROM generate_series(1, %(organisations)s) AS n, (SELECT date_trunc('month', now())) AS s (t)
"""
_EVENTS = """
INSERT INTO usage_usageevent (
    org_id, request_id, metric, value, occurred_at, counted_at, recorded_at,
    period_start, period_key, used_after, remaining_after, counter_version)
SELECT 'events_' || 1 + n %% %(organisations)s, 'r' || n, 'api_call', 1, t, t, t,
       t, to_char(t, 'YYYY-MM'), 1 + n / %(organisations)s,
       1000000 - 1 - n / %(organisations)s, 2 + n / %(organisations)s
  FROM generate_series(0, %(events)s - 1) AS n, (SELECT date_trunc('month', now())) AS s (t)
"""
_COUNTERS = """
INSERT INTO quotas_usagecounter (
    org_id, metric, period_key, period_start, period_end, counted, forgiven, forgiven_version,
    included, adjusted, overage, access, valid_until, version, created_at, updated_at)
SELECT org_id, metric, min(period_key), period_start, period_start + interval '1 month',
       count(*), 0, 0, 1000000, 0, 'block', true, period_start + interval '1 month',
       max(counter_version), period_start, period_start
  FROM usage_usageevent WHERE org_id LIKE 'events_%%' GROUP BY 1, 2, 4
"""


def main(arguments: list[str]) -> None:
    """Write the books, prove them, print how fast that was."""
    asked = _arguments(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    manage("migrate", "--verbosity", "0")
    manage("sync_plans")
    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for statement in (_ENTITLEMENTS, _EVENTS, _COUNTERS):
            cursor.execute(
                statement, {"organisations": asked.organisations, "events": asked.events}
            )
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "manage.py", "reconcile_usage", "--json"],
        cwd=ROOT,
        env={**os.environ, "PROCESS_ROLE": "worker"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    said = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the books differ: {said['drifts'][:3]}")
    print(
        f"{said['events']} events of {said['organisations']} organisations: {said['equal']} of"
        f" {said['counters']} counters equal in {said['seconds']:.1f} s,"
        f" {said['events'] / said['seconds']:.0f} events a second,"
        f" peak {used.ru_maxrss / 1024:.0f} MiB"
    )


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench reconcile", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--organisations", type=int, default=1_000)
    return parser.parse_args(arguments)
