"""An import that is killed, stopped or cut off, and started again, counts the same."""

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.support.cast import Org
from tests.support.database import superuser
from tests.usage.importing import counted, events, importing, lines, write
from usage.importing.ids import event_id
from usage.importing.runs import Source, alone
from usage.models import ImportRun, UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
#: A line in the third batch: two batches are through when the import waits for it.
HELD = 2500
_WAITING = """
SELECT query_start FROM pg_stat_activity
 WHERE wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%usage_record%'
"""
_HOLD = """
INSERT INTO usage_usageevent (org_id, request_id, metric, value, occurred_at, counted_at,
       recorded_at, period_start, period_key, used_after, remaining_after, counter_version)
VALUES (%s, %s, 'api_call', 1, now(), now(), now(), now(), '2026-11', 1, 1, 1)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "access.log", lines(5000))


@contextmanager
def waiting_at_line(org: Org, number: int) -> "Iterator[psycopg.Connection[Any]]":
    """Take the key of one line, uncommitted: whoever inserts it waits for us."""
    raw = lines(1, start=number)[0].encode()
    with superuser(str(connection.settings_dict["NAME"])) as other:
        other.autocommit = False
        other.execute(_HOLD, (org.id, event_id("access.log", raw, 1)))
        yield other
        other.rollback()


def until_it_waits(times: int = 1) -> None:
    """Return when an import was seen waiting for the key in so many tries."""
    tries: set[Any] = set()
    deadline = time.monotonic() + PATIENCE
    with superuser(str(connection.settings_dict["NAME"])) as watch:
        while len(tries) < times:
            assert time.monotonic() < deadline, "nobody waits"
            tries.update(watch.execute(_WAITING).fetchall())


def start(log: Path, org: Org, **env: str) -> "subprocess.Popen[str]":
    """Start the command as a process of its own on this test's servers."""
    url = urlsplit(os.environ["DATABASE_URL"])
    database = str(connection.settings_dict["NAME"])
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "manage.py", "import_usage", str(log), "--org", org.id]
        + ["--metric", "api_call", "--shift-to-now"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": urlunsplit(url._replace(path=f"/{database}")),
            "VALKEY_URL": settings.VALKEY_URL,
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_count(
    org: Org, log: Path
) -> None:
    with waiting_at_line(org, HELD):
        process = start(log, org)
        until_it_waits()
        process.kill()
        process.communicate()
        run = ImportRun.objects.get(org_id=org.id)
        assert (events(org), run.finished_at) == (2000, None)

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.rejected) == (0, 0)
    assert outcome.accepted + outcome.duplicate == 5000
    assert outcome.duplicate >= 2000
    assert counted(org) == events(org) == 5000


def test_stopped_by_ctrl_c_it_says_so_and_goes_on_where_it_was(org: Org, log: Path) -> None:
    with waiting_at_line(org, HELD):
        process = start(log, org)
        until_it_waits()
        process.send_signal(signal.SIGINT)
        text, said = process.communicate(timeout=PATIENCE)

    outcome = importing(log, org, "--shift-to-now")

    assert process.returncode == 130
    assert "Interrupted. Run the same command again" in said
    assert "Traceback" not in said
    assert "accepted               2,000" in text
    assert (outcome.accepted, outcome.duplicate, outcome.rejected) == (3000, 2000, 0)
    assert counted(org) == events(org) == 5000


def test_batch_that_has_to_wait_too_long_is_tried_again(org: Org, log: Path) -> None:
    def let_go_at_the_second_try(other: "psycopg.Connection[Any]") -> None:
        until_it_waits(times=2)
        other.rollback()

    with waiting_at_line(org, HELD) as other:
        helper = threading.Thread(target=let_go_at_the_second_try, args=(other,))
        helper.start()
        outcome = importing(log, org, "--shift-to-now")
        helper.join()

    assert (outcome.code, outcome.accepted, outcome.rejected) == (0, 5000, 0)
    assert counted(org) == events(org) == 5000


def test_connections_that_are_lost_are_made_anew(org: Org, log: Path) -> None:
    def cut(other: "psycopg.Connection[Any]") -> None:
        until_it_waits()
        with superuser(str(connection.settings_dict["NAME"])) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = %s",
                [connection.settings_dict["USER"]],
            )
        other.rollback()

    with waiting_at_line(org, HELD) as other:
        helper = threading.Thread(target=cut, args=(other,))
        helper.start()
        outcome = importing(log, org, "--shift-to-now")
        helper.join()

    assert (outcome.code, outcome.rejected) == (0, 0)
    assert outcome.accepted + outcome.duplicate == 5000
    assert counted(org) == events(org) == 5000


def test_database_that_is_away_is_told_without_a_traceback(
    org: Org, log: Path, tmp_path: Path
) -> None:
    process = start(log, org, DATABASE_URL=f"postgres://nobody@/nothing?host={tmp_path}")

    _, said = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert said.endswith("CommandError: The database does not answer\n")
    assert "Traceback" not in said


def test_log_that_breaks_off_counts_what_could_be_read_and_then_the_rest(
    org: Org, tmp_path: Path
) -> None:
    content = "".join(f"{line}\n" for line in lines(3000)).encode()
    log = tmp_path / "access.log.gz"
    log.write_bytes(gzip.compress(content))
    importing(log, org, "--shift-to-now", "--source", "first")
    log.write_bytes(gzip.compress(content)[:-100])

    broken = importing(log, org, "--shift-to-now")
    log.write_bytes(gzip.compress(content))
    whole = importing(log, org, "--shift-to-now")

    assert (broken.code, "cannot be read to its end" in broken.said) == (2, True)
    assert (whole.accepted, whole.rejected) == (3000, 0)


def test_second_import_of_a_source_waits_for_no_one_and_says_so(org: Org, log: Path) -> None:
    inside, done = threading.Event(), threading.Event()

    def import_meanwhile() -> None:
        with alone(Source(org.id, "access.log", "api_call", "1 each")):
            inside.set()
            done.wait(PATIENCE)
        connection.close()

    other = threading.Thread(target=import_meanwhile)
    other.start()
    assert inside.wait(PATIENCE)

    outcome = importing(log, org, "--shift-to-now")
    done.set()
    other.join()

    assert outcome.code == 2
    assert outcome.said == "Another import of access.log is running"
    assert not UsageEvent.objects.filter(org_id=org.id).exists()
