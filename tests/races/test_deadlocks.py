"""A deadlock is nobody's fault: PostgreSQL ends one of the two, and that one starts again."""

from datetime import UTC, datetime

import pytest
from django.db import connection

from tests.races.interleave import in_thread, wait_until_blocked
from tests.races.ledger import counter_of, sum_of_events
from tests.support.cast import make_org
from tests.support.database import superuser
from usage import ledger
from usage.ledger import NewUsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
_LOCK = "SELECT 1 FROM quotas_usagecounter WHERE org_id = %s AND metric = %s FOR UPDATE"


def test_uses_that_a_deadlock_ended_are_counted_by_a_second_try(transactional_db: None) -> None:
    org = make_org(now=NOW)
    events = [NewUsageEvent("api_call", 1, NOW, "a"), NewUsageEvent("compute_ms", 1, NOW, "b")]
    with superuser(str(connection.settings_dict["NAME"])) as other:
        # It is never this one that PostgreSQL ends: it does not look before the other does.
        other.execute("SET deadlock_timeout = '1min'")
        other.execute("BEGIN")
        other.execute(_LOCK, (org.id, "compute_ms"))
        counting = in_thread(lambda: ledger.record(org_id=org.id, events=events, now=NOW))
        wait_until_blocked()

        other.execute(_LOCK, (org.id, "api_call"))  # in the wrong order, once the others are ended
        other.execute("ROLLBACK")

    assert [one.status for one in counting.result(5)] == ["accepted", "accepted"]
    for metric in ("api_call", "compute_ms"):
        counter = counter_of(org.id, metric)
        assert counter.counted == sum_of_events(counter) == 1
