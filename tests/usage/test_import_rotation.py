"""A log that is rotated, grows, or overlaps is one source: its lines count once."""

import gzip
from pathlib import Path

import pytest

from tests.support.cast import Org
from tests.usage.importing import THEN, combined, counted, events, importing, lines, write

pytestmark = pytest.mark.django_db(transaction=True)


def test_log_that_was_rotated_since_is_known(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(50))
    importing(log, org, "--shift-to-now")
    rotated = log.rename(tmp_path / "access.log.1")
    packed = tmp_path / "access.log-20150520.gz"
    packed.write_bytes(gzip.compress(rotated.read_bytes()))

    outcomes = [importing(path, org) for path in (rotated, packed)]

    assert [(one.accepted, one.duplicate) for one in outcomes] == [(0, 50), (0, 50)]


def test_what_was_added_before_rotation_counts(org: Org, tmp_path: Path) -> None:
    twice = combined(7, at=THEN)
    log = write(tmp_path / "access.log", [*lines(7), twice])
    importing(log, org, "--shift-to-now")
    write(tmp_path / "access.log.1", [*lines(7), twice, twice, *lines(3, start=8)])

    outcome = importing(tmp_path / "access.log.1", org)

    assert (outcome.accepted, outcome.duplicate) == (4, 8)
    assert counted(org) == events(org) == 12


def test_second_file_that_overlaps_the_first_counts_what_is_new(org: Org, tmp_path: Path) -> None:
    pairs = [line for line in lines(60) for _ in range(2)]
    write(tmp_path / "access.log.1", pairs[:80])
    write(tmp_path / "access.log", pairs[60:])

    # The newer part first: its last instant is the last of the source.
    newer = importing(tmp_path / "access.log", org, "--shift-to-now")
    older = importing(tmp_path / "access.log.1", org)

    assert (newer.accepted, newer.duplicate) == (60, 0)
    assert (older.accepted, older.duplicate) == (60, 20)
    assert counted(org) == events(org) == 120


def test_end_of_a_log_read_alone_is_known(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(2100))
    importing(log, org, "--shift-to-now")
    tail = write(tmp_path / "tail", lines(300, start=1800))

    outcome = importing(tail, org, "--source", "access.log")

    assert (outcome.accepted, outcome.duplicate) == (0, 300)


def test_line_that_was_being_written_counts_once_it_is_whole(org: Org, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    whole = "\n".join(lines(3)) + "\n"
    log.write_text(whole[:-20])
    first = importing(log, org, "--shift-to-now")
    log.write_text(whole)

    second = importing(log, org)

    assert (first.accepted, first.rejected) == (2, 1)
    assert (second.accepted, second.duplicate, second.rejected) == (1, 2, 0)
    assert events(org) == 3
