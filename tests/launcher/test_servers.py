"""Real PostgreSQL and Valkey: started, used, killed with their launcher, found whole."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis

from config.launcher.binaries import find_postgres
from config.launcher.guard import alive
from config.launcher.places import Places, server_folder
from config.launcher.postgres import Postgres
from config.launcher.process import wait_until
from config.launcher.ui import Refusal
from config.launcher.venv import Environment

pytestmark = pytest.mark.enable_socket

HOLDER = Path(__file__).with_name("holder.py")


@dataclass
class Held:
    process: subprocess.Popen[str]
    found: dict[str, str]
    pids: dict[str, int]

    def all_gone(self) -> bool:
        return not any(alive(pid) for pid in self.pids.values())

    def sql(self, name: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.found[name], autocommit=True) as db:
            cursor = db.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def held(places: Places) -> Iterator[Held]:
    process = subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, str(HOLDER), str(places.home)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the servers did not come up"
        found = json.loads(line)
        yield Held(process, found, found.pop("pids"))
    finally:
        process.terminate()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def test_what_was_committed_outlives_a_killed_launcher(places: Places) -> None:
    with held(places) as first:
        first.sql("MIGRATE_DATABASE_URL", "CREATE TABLE fact (id int)")
        first.sql("DATABASE_URL", "INSERT INTO fact VALUES (1)")

        first.process.kill()

        assert wait_until(first.all_gone, 30), "a process outlived its launcher"
        assert not Path(first.found["sockets"]).exists()
    with held(places) as second:
        assert second.sql("DATABASE_URL", "SELECT id FROM fact") == [(1,)]


def test_a_stopped_launcher_leaves_nothing_running(places: Places) -> None:
    with held(places) as up:
        up.process.terminate()

        assert up.process.wait(timeout=60) == 0
        assert up.all_gone()
        assert not Path(up.found["sockets"]).exists()


def test_the_application_works_with_rows_and_not_with_tables(places: Places) -> None:
    with held(places) as up:
        up.sql("MIGRATE_DATABASE_URL", "CREATE TABLE fact (id int)")

        up.sql("DATABASE_URL", "INSERT INTO fact VALUES (1)")
        for statement in ("CREATE TABLE more (id int)", "DROP TABLE fact", "TRUNCATE fact"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                up.sql("DATABASE_URL", statement)


def test_the_sandbox_has_a_database_nobody_else_enters(places: Places) -> None:
    with held(places) as up:
        up.sql("SANDBOX_DATABASE_URL", "CREATE TABLE customer (id int)")
        up.found["trespass"] = up.found["DATABASE_URL"].replace(
            "/metergate?", "/metergate_sandbox?"
        )

        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            up.sql("trespass", "SELECT 1")


def test_the_database_is_utc_utf8_and_durable(places: Places) -> None:
    with held(places) as up:
        [answer] = up.sql(
            "DATABASE_URL",
            "SELECT current_setting('TimeZone'), current_setting('server_encoding'),"
            " current_setting('fsync'), current_setting('listen_addresses')",
        )
        extensions = up.sql("DATABASE_URL", "SELECT extname FROM pg_extension")

        assert answer == ("UTC", "UTF8", "on", "")
        assert ("btree_gist",) in extensions


def test_valkey_refuses_rather_than_forgets(places: Places) -> None:
    with held(places) as up:
        with redis.Redis.from_url(up.found["VALKEY_URL"]) as client:
            settings = client.config_get("maxmemory-policy", "save", "appendonly", "port")

        assert settings == {
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "no",
            "port": "0",
        }


def test_data_of_another_major_version_is_refused(places: Places) -> None:
    env = Environment(Path(sys.prefix), places.project, places.home)
    folder = server_folder(places.home / "postgres", places.account)
    (folder / "PG_VERSION").write_text("12\n")
    server = Postgres(
        find_postgres(env.site_packages, places.account), folder, places.home, places.account
    )

    with pytest.raises(Refusal, match="was made by PostgreSQL 12"):
        server.prepare()


def test_a_pid_file_of_something_else_is_no_obstacle(places: Places) -> None:
    with held(places) as up:
        up.process.send_signal(signal.SIGTERM)
        up.process.wait(timeout=60)
    leftover = places.data / "postgres" / "postmaster.pid"
    leftover.write_text(f"{os.getpid()}\n{leftover.parent}\n")
    places.account.own(leftover)

    with held(places) as again:
        assert again.sql("DATABASE_URL", "SELECT 1") == [(1,)]
