"""A request id is found by its own index, whatever the statistics say of its organisation."""

import pytest
from django.db import connection

from tests.support.database import superuser

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
