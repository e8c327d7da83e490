"""A request id is found by its own index, whatever the statistics say, or none."""

import pytest
from django.db import connection

from config.contract import clock
from tests.support.cast import make_org
from tests.support.database import superuser
from usage.ledger import _RECORD, NewUsageEvent, _arguments

pytestmark = pytest.mark.django_db(transaction=True)
#: Many organisations with one event each: what the planner then expects of any other.
_SMALL_ONES = """
INSERT INTO usage_usageevent (org_id, request_id, metric, value, occurred_at, counted_at,
       recorded_at, period_start, period_key, used_after, remaining_after, counter_version)
SELECT 'org_' || n, 'req-' || n, 'api_call', 1, now(), now(), now(), now(), '2026-11', 1, 1, 1
  FROM generate_series(1, 5000) AS n
"""
_LOOKUP = """
EXPLAIN SELECT * FROM usage_usageevent WHERE org_id = 'org_new' AND request_id = 'req-new'
"""


def test_organisation_that_is_new_to_the_statistics_is_not_read_whole(
    transactional_db: None,
) -> None:
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(_SMALL_ONES)
        admin.execute("ANALYZE usage_usageevent")

        plan = "\n".join(row[0] for row in admin.execute(_LOOKUP).fetchall())

    assert "usage_event_counted_once" in plan


def test_a_call_planned_before_there_are_statistics_reads_no_more_than_its_key(
    transactional_db: None,
) -> None:
    org = make_org(plan="pro")
    org.use()
    event = NewUsageEvent("api_call", 1, clock.now(), "r1")
    plans: list[str] = []
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.add_notice_handler(lambda told: plans.append(str(told.message_primary)))
        admin.execute("LOAD 'auto_explain'")
        admin.execute("SET auto_explain.log_min_duration = 0")
        admin.execute("SET auto_explain.log_nested_statements = on")
        admin.execute("SET plan_cache_mode = force_generic_plan")
        admin.execute("SET client_min_messages = log")

        admin.execute(_RECORD, _arguments(org.id, [event], clock.now()))

    on_the_ledger = [plan for plan in plans if "Index Only Scan using usage_event" in plan]
    assert on_the_ledger
    for plan in on_the_ledger:
        assert "(org_id = $1) AND (request_id = r.id)" in plan
