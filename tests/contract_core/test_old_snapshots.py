"""A snapshot that stays open is seen, whoever holds it, and told to Prometheus and staff."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import environ
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
def as_owner() -> Iterator[None]:
    """Connect as the role that owns the schema, which sees its own sessions only."""
    application = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD")}
    owner = environ.Env.db_url_config(os.environ["MIGRATE_DATABASE_URL"])
    connection.close()
    connection.settings_dict.update(USER=owner["USER"], PASSWORD=owner["PASSWORD"])
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(application)


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


def test_a_role_that_may_not_see_other_sessions_is_told_what_it_lacks(
    transactional_db: None,
) -> None:
    with as_owner(), somebody_dumps():
        assert (oldest_snapshots().oldest, oldest_snapshots().sees_all) == ((), False)
        assert (light().state, "GRANT pg_read_all_stats" in light().sentence) == ("look", True)
        assert scraped("metergate_snapshots_seen") == {"": 0}
