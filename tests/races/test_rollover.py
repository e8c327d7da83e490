"""Rolling over: by many at once, and killed midway."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.core.management import call_command
from django.db import connection

from config.contract import clock
from quotas.models import UsageCounter
from quotas.rollover import roll_over
from quotas.tasks import reset_all, roll_periods_over
from tests.races.conftest import Length
from tests.races.interleave import all_at_once
from tests.support.live import ROOT, database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]

_MANY = """
INSERT INTO quotas_entitlement (
    org_id, plan_code, status, status_since, status_because, allowances, allowances_since,
    prior_allowances, period_rule, anchor_at, cuts, scheduled_plan_code,
    scheduled_period_rule, started_at, version, updated_at)
SELECT 'org_many_' || n, 'pro', 'active', %(began)s, 'test',
       '{"api_call": {"included": 100, "overage": "block"}}', %(began)s,
       '{}', (ARRAY['calendar_month', 'billing_month', 'billing_year'])[1 + n %% 3],
       %(began)s + n * interval '1 minute', '[]', '', '', %(began)s, 1, %(began)s
  FROM generate_series(1, %(many)s) AS n
"""


def many_orgs(many: int) -> None:
    """Make so many organisations that nobody ever touched, on all three rules."""
    with connection.cursor() as cursor:
        cursor.execute(_MANY, {"many": many, "began": clock.now() - timedelta(days=1000)})


def periods_now() -> Counter[str]:
    now = clock.now()
    return Counter(
        UsageCounter.objects.filter(period_start__lte=now, period_end__gt=now).values_list(
            "org_id", flat=True
        )
    )


def test_two_beats_a_command_and_the_endpoint_at_once_open_one_period_each(
    transactional_db: None, length: Length
) -> None:
    many = length.of(300, 2_000)
    many_orgs(many)

    works: list[Callable[[], object]] = [
        roll_periods_over,
        roll_periods_over,
        lambda: call_command("rollover_periods", stdout=open(os.devnull, "w")),  # noqa: SIM115
        partial(reset_all, ""),
    ]
    all_at_once(works)

    found = periods_now()
    assert (len(found), set(found.values())) == (many, {1})
    assert list(roll_over(now=clock.now()))[-1].opened == 0


_ROLLING = """
import os
import django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from config.contract import clock
from quotas import opening
from quotas.rollover import roll_over
opening.PAGE = 5
print("ready", flush=True)
for done in roll_over(now=clock.now()):
    print(done.opened, flush=True)
"""


def killed_after(pages: int) -> None:
    """Roll over in a process of its own, and kill it once so many pages are told."""
    process = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", _ROLLING],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), "PROCESS_ROLE": "worker"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(1 + pages):
        process.stdout.readline()
    process.kill()
    process.wait(10)
    process.stdout.close()


def test_killed_midway_again_and_again_each_organisation_is_rolled_once(
    transactional_db: None, length: Length
) -> None:
    kills = length.of(2, 20)
    many = 10 * (kills + 1)
    many_orgs(many)

    for n in range(kills):
        killed_after(pages=2 * (n + 1))
    partly = len(periods_now())
    list(roll_over(now=clock.now()))

    assert 0 < partly < many
    found = periods_now()
    assert (len(found), set(found.values())) == (many, {1})
