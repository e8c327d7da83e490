"""PostgreSQL hangs up (a restart, a fail-over, a proxy's time-out): nobody is told."""

from datetime import UTC, datetime
from functools import partial

import pytest
from django.db import connection

from config.contract import hotpool
from quotas.check import check
from tests.races.interleave import all_at_once, by_hand, in_thread, wait_until_blocked
from tests.races.ledger import counter_of, sum_of_events
from tests.support.cast import Org, make_org
from tests.support.database import superuser
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)


def hang_up(pids: list[int]) -> None:
    """End sessions as a server does that shuts down, and wait until they are gone."""
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        for pid in pids:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def kept_ready() -> list[int]:
    """Return the sessions that the hot path keeps for the next use."""
    pids = [one.info.backend_pid for one in hotpool._current_pool()._pool]
    assert pids
    return pids


def waiting() -> list[int]:
    """Return the sessions that wait for a lock."""
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        rows = admin.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return [pid for (pid,) in rows]


def record(org: Org, request_id: str) -> Recorded:
    event = NewUsageEvent("api_call", 1, NOW, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=NOW)
    return outcome


def test_use_and_check_go_on_over_new_connections(transactional_db: None) -> None:
    org = make_org(now=NOW)
    all_at_once([partial(record, org, f"r-{n}") for n in range(4)])  # so many connections
    hang_up(kept_ready())

    counted = record(org, "r-4")
    hang_up(kept_ready())
    allowed = check(org_id=org.id, metric="api_call", value=1, now=NOW, held=None)

    assert counted.status == "accepted"
    assert allowed.allow
    assert counter_of(org.id).used == sum_of_events(counter_of(org.id)) == 5


def test_a_use_interrupted_in_the_middle_is_counted_once(transactional_db: None) -> None:
    org = make_org(now=NOW)
    with by_hand() as held:
        held.execute("SELECT FROM quotas_usagecounter WHERE org_id = %s FOR UPDATE", (org.id,))
        interrupted = in_thread(lambda: record(org, "r"))
        wait_until_blocked()

        hang_up(waiting())
        held.rollback()

    assert interrupted.result(5).status == "accepted"
    assert counter_of(org.id).used == sum_of_events(counter_of(org.id)) == 1
