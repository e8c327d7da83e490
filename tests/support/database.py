"""A database and a Valkey of its own for each test process, clean before each test."""

import os
from collections.abc import Iterator
from typing import Any

import environ
import psycopg
import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.test import TransactionTestCase
from psycopg import sql
from pytest_django import DjangoDbBlocker

from config.contract import clock
from config.contract.clients import clients
from config.contract.hotpool import close_pool

#: What migrations and `sync_plans` made, and every test may rely on.
KEPT = {
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
    "billing_plan",
    "billing_planallowance",
    "quotas_metric",
    "contract_installation",
}
_CLEAN = """
DO $$
DECLARE name text; found boolean;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
                 AND NOT tablename = ANY (string_to_array('{kept}', ',')) LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO found;
        IF found THEN EXECUTE format('DELETE FROM %I', name); END IF;
    END LOOP;
    UPDATE contract_installation SET copy_epoch = 1, clock_offset_seconds = 0
     WHERE (copy_epoch, clock_offset_seconds) <> (1, 0);
    DELETE FROM quotas_metric WHERE code NOT IN (SELECT metric FROM billing_planallowance);
    UPDATE billing_plan SET stripe_price_id = '' WHERE stripe_price_id <> '';
END $$
"""


def superuser(database: str) -> "psycopg.Connection[Any]":
    """Return an autocommit connection that may do everything."""
    parts = environ.Env.db_url_config(os.environ["POSTGRES_SUPERUSER_URL"])
    return psycopg.connect(
        host=parts["OPTIONS"].get("host") or parts["HOST"],
        port=parts["PORT"] or None,
        user=parts["USER"],
        password=parts["PASSWORD"] or None,
        dbname=database,
        autocommit=True,
    )


def rewrite(statement: str, *parameters: Any) -> None:
    """Change rows of this test's database that the application's role may not change."""
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(statement.encode(), parameters)


def pytest_configure(config: pytest.Config) -> None:
    """Give each test process a Valkey database of its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    number = 2 + int(worker.removeprefix("gw"))
    base = os.environ["VALKEY_URL"].partition("?")[0]
    settings.VALKEY_URL = f"{base}?db={number}"
    at_valkey: dict[str, Any] = settings.CACHES["valkey"]
    at_valkey["LOCATION"] = settings.VALKEY_URL
    # Denials of one test must not be written down in the middle of the next.
    settings.DENIAL_FLUSH = 0


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Make the test database as its owner, then use it as the application."""
    name = f"test_metergate_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with superuser("postgres") as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} (FORCE)").format(sql.Identifier(name)))
        admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER metergate_owner").format(sql.Identifier(name))
        )
    with superuser(name) as admin:
        admin.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
        for grant in (
            "SELECT, INSERT, UPDATE, DELETE ON TABLES",
            "USAGE ON SEQUENCES",
        ):
            admin.execute(
                "ALTER DEFAULT PRIVILEGES FOR ROLE metergate_owner IN SCHEMA public"
                f" GRANT {grant} TO metergate_app"
            )
        admin.execute("GRANT ALL ON SCHEMA public TO metergate_owner")
    with django_db_blocker.unblock():
        owner = environ.Env.db_url_config(os.environ["MIGRATE_DATABASE_URL"])
        application = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD")}
        connection.settings_dict.update(NAME=name, USER=owner["USER"], PASSWORD=owner["PASSWORD"])
        call_command("migrate", verbosity=0)
        connection.close()
        connection.settings_dict.update(application)
        call_command("sync_plans", stdout=open(os.devnull, "w"))  # noqa: SIM115
    yield
    from quotas.denial_book import book

    book.discard()
    with django_db_blocker.unblock():
        close_pool()
        connections.close_all()
    with superuser("postgres") as admin:
        admin.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))


def _clean(self: TransactionTestCase) -> None:
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(_CLEAN.format(kept=",".join(sorted(KEPT))))


# Django would TRUNCATE as the application, which may not.
TransactionTestCase._fixture_teardown = _clean  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _fresh_process_state() -> None:
    """Forget what a process remembers between requests."""
    from config.contract import doorbell
    from quotas import catalogue, check
    from quotas.denial_book import book
    from tokens.cors import forget_domains
    from tokens.throttles import _local_limiter, _shared_limiter

    redis.Redis.from_url(settings.VALKEY_URL).flushdb()
    clients.register("copy", clients._makers["copy"])
    clock.forget_offset()
    doorbell._silent_until = float("-inf")
    check._confirmed.clear()
    book.discard()
    forget_domains()
    catalogue._known = frozenset()
    _local_limiter.cache_clear()
    _shared_limiter.cache_clear()


@pytest.fixture
def valkey() -> "redis.Redis":
    """The Valkey of this test process."""
    return redis.Redis.from_url(settings.VALKEY_URL)
