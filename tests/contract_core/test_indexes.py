"""Indexes are changed while everybody works, and again where a run was cut off."""

import os
import threading
import time
from collections.abc import Iterator

import environ
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from tests.support.cast import make_org
from tests.support.database import superuser

pytestmark = pytest.mark.django_db(transaction=True)

_WAITS = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)
  FROM pg_locks WHERE locktype = 'virtualxid' AND NOT granted
"""


@pytest.fixture
def owner(transactional_db: None) -> Iterator[None]:
    """Migrate as the owner; the newest schema is there again afterwards."""
    application = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD")}
    parts = environ.Env.db_url_config(os.environ["MIGRATE_DATABASE_URL"])
    connection.close()
    connection.settings_dict.update(USER=parts["USER"], PASSWORD=parts["PASSWORD"])
    yield
    migrate()
    connection.close()
    connection.settings_dict.update(application)


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0)


def indexes() -> dict[str, bool]:
    """Return the ledger's indexes, each with whether PostgreSQL uses it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE i.indrelid = 'usage_usageevent'::regclass"
        )
        return dict(cursor.fetchall())


def admin() -> "psycopg.Connection[object]":
    return superuser(str(connection.settings_dict["NAME"]))


def test_an_index_whose_making_was_cut_off_is_made_anew(owner: None) -> None:
    whole = indexes()
    migrate("usage", "0013")
    assert indexes() == {
        **{name: True for name in whole if name != "usage_event_newest_first"},
        "usage_event_by_time": True,
    }
    with admin() as other:
        other.execute("CREATE INDEX usage_event_newest_first ON usage_usageevent (metric)")
        other.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = 'usage_event_newest_first'::regclass"
        )

    migrate("usage", "0014")

    assert indexes() == whole
    assert set(whole.values()) == {True}


def test_an_index_waits_for_older_transactions_however_long_and_nobody_for_it(
    owner: None,
) -> None:
    migrate("usage", "0013")
    failed: list[BaseException] = []

    def forward() -> None:
        try:
            migrate("usage", "0014")
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    with admin() as older, older.transaction():
        older.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        older.execute("SELECT FROM usage_usageevent")
        thread = threading.Thread(target=forward)
        thread.start()
        # Longer than the lock_timeout of our connections.
        with admin() as other:
            until = time.monotonic() + 60
            while not failed and other.execute(_WAITS).fetchone()[0] < 1.5:  # type: ignore[index]
                assert time.monotonic() < until
                time.sleep(0.05)
        assert make_org().use(5).status_code == 200
    thread.join()

    assert not failed
    assert indexes()["usage_event_newest_first"]
    assert "usage_event_by_time" not in indexes()
