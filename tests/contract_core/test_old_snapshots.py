"""A snapshot that stays open is seen, whoever holds it, and told to Prometheus and staff."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from config.backoffice.dashboard import lights
from config.contract import clock
from config.contract.old_snapshots import oldest_snapshots
from tests.support.database import superuser

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def somebody_dumps() -> Iterator[None]:
    """As pg_dump reads: one transaction, one snapshot, of a role that is not ours."""
    with superuser(str(connection.settings_dict["NAME"])) as other, other.transaction():
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT FROM quotas_usagecounter")
        yield


@contextmanager
def without_the_right() -> Iterator[None]:
    """The function belongs to a role that sees its own sessions only."""
    change = "ALTER FUNCTION contract_oldest_snapshots() OWNER TO {}"
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(change.format("metergate_sandbox").encode())
        try:
            yield
        finally:
            admin.execute(change.format("metergate_owner").encode())


def kinds() -> list[str]:
    return [snapshot.kind for snapshot in oldest_snapshots().oldest]


def light() -> lights.Light:
    [found] = [one for one in lights.lights(now=clock.now()) if one.name == "Old snapshots"]
    return found


def scraped(name: str) -> dict[str, float]:
    text = Client().get("/metrics").content.decode()
    return {
        sample.labels.get("kind", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_dump_is_seen_while_it_lasts(transactional_db: None) -> None:
    assert kinds() == []

    with somebody_dumps():
        [snapshot] = oldest_snapshots().oldest

    assert snapshot.kind == "session"
    assert snapshot.seconds is not None
    assert kinds() == []


def test_transactions_that_began_since_are_counted(transactional_db: None) -> None:
    with somebody_dumps():
        before = oldest_snapshots().oldest[0].transactions
        with superuser(str(connection.settings_dict["NAME"])) as other:
            for _ in range(5):
                other.execute("SELECT pg_current_xact_id()")
        after = oldest_snapshots().oldest[0].transactions

    assert after >= before + 5


def test_prometheus_hears_of_every_kind(transactional_db: None) -> None:
    quiet = scraped("metergate_oldest_snapshot_seconds")
    with somebody_dumps():
        dumped = scraped("metergate_oldest_snapshot_seconds")

    assert quiet == {"session": 0, "replica": 0, "slot": 0, "prepared": 0}
    assert dumped["session"] > 0
    assert scraped("metergate_oldest_snapshot_transactions") == quiet
    assert scraped("metergate_snapshots_seen") == {"": 1}


def test_the_dashboard_shows_one_that_is_old(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert light().state == "good"
    with somebody_dumps():
        assert light().state == "good"

        monkeypatch.setattr(lights, "_OLD_SNAPSHOT", timedelta(0))
        assert light().state == "look"
        monkeypatch.setattr(lights, "_VERY_OLD_SNAPSHOT", timedelta(0))
        assert light().state == "bad"


def test_the_dashboard_shows_what_many_transactions_are_kept_for(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lights, "_MANY_TRANSACTIONS", 0)
    with somebody_dumps():
        assert (light().state, "session" in light().sentence) == ("bad", True)


def test_where_other_sessions_are_not_seen_it_is_told_what_lacks(
    transactional_db: None,
) -> None:
    with without_the_right(), somebody_dumps():
        snapshots = oldest_snapshots()
        assert (snapshots.oldest, snapshots.sees_all) == ((), False)
        assert (light().state, "GRANT pg_read_all_stats" in light().sentence) == ("look", True)
        assert scraped("metergate_snapshots_seen") == {"": 0}


def test_the_application_itself_sees_nothing_of_what_others_run(transactional_db: None) -> None:
    with somebody_dumps(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE query NOT LIKE '<insufficient%%'), count(*)"
            "  FROM pg_stat_activity WHERE usename <> current_user"
        )
        [(readable, sessions)] = cursor.fetchall()

    assert sessions > 0
    assert readable == 0
