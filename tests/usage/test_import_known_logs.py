"""A log is known by what it holds: its lines count once under any name and in any company."""

import bz2
import gzip
import lzma
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.contract import clock
from tests.support.cast import Org, make_org
from tests.usage.importing import THEN, combined, counted, events, importing, lines, write
from usage.importing.ids import event_id
from usage.ledger import NewUsageEvent, record
from usage.models import ImportedLog, ImportRun

pytestmark = pytest.mark.django_db(transaction=True)
SHIFT = "--shift-to-now"


def text(content: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in content).encode()


@pytest.mark.parametrize(
    "name",
    ["access-2026-11-27T10-00-00.000.log", "access.log.old", "access.log~", "access (1).log",
     "2026/11/27/access", "localhost_access_log.2026-11-27.txt", "u_ex261127.log",
     "access.log.20261127-101500.bak", "server1/access.log", "completely different"],
)  # fmt: skip
def test_log_counts_once_under_any_name(org: Org, tmp_path: Path, name: str) -> None:
    log = write(tmp_path / "access.log", lines(30))
    importing(log, org, SHIFT)
    moved = tmp_path / "elsewhere" / name
    moved.parent.mkdir(parents=True)
    log.rename(moved)

    outcome = importing(moved, org)

    assert (outcome.code, outcome.accepted, outcome.duplicate) == (0, 0, 30)
    assert counted(org) == events(org) == 30


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_log_counts_once_however_it_is_compressed(org: Org, tmp_path: Path, pack: object) -> None:
    log = write(tmp_path / "access.log", lines(30))
    importing(log, org, SHIFT)
    packed = tmp_path / "archive.0"
    packed.write_bytes(pack(log.read_bytes()))  # type: ignore[operator]

    outcome = importing(packed, org)

    assert (outcome.accepted, outcome.duplicate) == (0, 30)


def test_zstd_is_told_how_to_be_read(org: Org, tmp_path: Path) -> None:
    log = tmp_path / "access.log.1.zst"
    log.write_bytes(b"\x28\xb5\x2f\xfd" + b"0" * 20)

    outcome = importing(log, org)

    assert (outcome.code, "zstdcat" in outcome.said) == (2, True)


def test_link_to_a_log_is_the_log(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "today.log", lines(3))
    importing(log, org, SHIFT)
    link = tmp_path / "current"
    link.symlink_to(log)

    assert importing(link, org).duplicate == 3


@pytest.mark.parametrize("first", [1, 3, 63, 64, 65, 200])
def test_log_that_was_short_when_it_was_imported_is_known_when_it_has_grown(
    org: Org, tmp_path: Path, first: int
) -> None:
    content = [combined(n) for n in range(310)]
    importing(write(tmp_path / "a", content[:first]), org, SHIFT)

    grown = importing(write(tmp_path / "b", content[:300]), org)
    again = importing(write(tmp_path / "c", content), org)

    assert (grown.accepted, grown.duplicate) == (300 - first, first)
    assert (again.accepted, again.duplicate) == (10, 300)
    assert counted(org) == events(org) == 310


def test_identical_requests_that_are_added_to_a_short_log_count(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "a", [combined()])
    importing(log, org, SHIFT)
    write(log, [combined()] * 5)

    outcome = importing(log, org)

    assert (outcome.accepted, outcome.duplicate) == (4, 1)


def test_copy_that_was_truncated_in_the_middle_of_a_line_counts_the_line_once(
    org: Org, tmp_path: Path
) -> None:
    whole = text(lines(100))
    log = tmp_path / "access.log"
    log.write_bytes(whole)
    importing(log, org, SHIFT)
    copied = tmp_path / "copy"
    copied.write_bytes(whole[:-30])
    log.write_bytes(b"\0" * 5000 + text(lines(5, start=100)))

    copy = importing(copied, org)
    goes_on = importing(log, org)

    assert (copy.accepted, copy.duplicate, copy.rejected) == (0, 99, 1)
    assert (goes_on.accepted, goes_on.duplicate, goes_on.rejected) == (5, 0, 0)
    assert counted(org) == 105


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("size", [5, 90])
def test_logs_put_together_are_each_of_them(
    org: Org, tmp_path: Path, order: tuple[int, ...], size: int
) -> None:
    # A line that all of them hold is a request in each.
    parts = [lines(size, start=n * size) for n in range(3)]
    for part in parts:
        part[2] = combined(path="/shared")
    for n in (1, 0):
        importing(write(tmp_path / f"access.log.{n}", parts[n]), org, SHIFT)
    before = counted(org)

    outcome = importing(write(tmp_path / "all", [x for n in order for x in parts[n]]), org, SHIFT)

    assert before == 2 * size
    assert outcome.accepted == (size if 2 in order else 0)
    assert outcome.accepted + outcome.duplicate == size * len(order)


def test_parts_of_what_was_imported_together_are_known(org: Org, tmp_path: Path) -> None:
    importing(write(tmp_path / "all", lines(200)), org, SHIFT)

    first = importing(write(tmp_path / "x", lines(90)), org)
    second = importing(write(tmp_path / "y", lines(110, start=90)), org)

    assert (first.accepted, second.accepted) == (0, 0)


@pytest.mark.parametrize("overlap", [1, 3, 20, 100])
def test_file_that_begins_in_the_middle_of_a_log_counts_what_is_new(
    org: Org, tmp_path: Path, overlap: int
) -> None:
    importing(write(tmp_path / "one", lines(300)), org, SHIFT)

    later = importing(write(tmp_path / "two", lines(150, start=300 - overlap)), org)

    assert (later.accepted, later.duplicate) == (150 - overlap, overlap)


@pytest.mark.parametrize("overlap", [1, 3, 20, 100])
def test_file_that_ends_in_the_middle_of_a_log_counts_what_is_new(
    org: Org, tmp_path: Path, overlap: int
) -> None:
    importing(write(tmp_path / "two", lines(300, start=150)), org, SHIFT)

    earlier = importing(write(tmp_path / "one", lines(150 + overlap)), org, SHIFT)

    assert (earlier.accepted, earlier.duplicate) == (150, overlap)


@pytest.mark.parametrize("overlap", [1, 3, 20])
def test_files_that_each_begin_in_the_middle_of_the_one_before_are_one_log(
    org: Org, tmp_path: Path, overlap: int
) -> None:
    content = [combined(n) for n in range(200)]
    for n in range(4):
        end = 50 * (n + 1)
        log = write(tmp_path / f"{n}", content[max(0, end - 50 - overlap) : end])
        outcome = importing(log, org, SHIFT)

        assert (outcome.accepted, outcome.duplicate) == (50, overlap if n else 0)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.tuples(st.integers(0, 150), st.integers(1, 150)), min_size=2, max_size=5))
def test_copies_that_overlap_anyhow_count_each_line_once(
    transactional_db: None,
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[tuple[int, int]],
) -> None:
    org, folder = make_org(), tmp_path_factory.mktemp("logs")
    content = [combined(n) for n in range(300)]

    for number, (start, length) in enumerate(cuts):
        importing(write(folder / str(number), content[start : start + length]), org, SHIFT)

    covered = {n for start, length in cuts for n in range(start, start + length)}
    assert counted(org) == events(org) == len(covered)


def test_part_of_a_log_that_was_imported_with_a_filter_is_known(org: Org, tmp_path: Path) -> None:
    kinds = [combined(n, path=("/api", "/x", "/y")[n % 3]) for n in range(300)]
    importing(write(tmp_path / "one", kinds), org, SHIFT, "--path", "/api")

    outcome = importing(write(tmp_path / "two", kinds[100:]), org)

    assert (outcome.accepted, outcome.duplicate) == (134, 66)


def test_two_servers_that_share_a_line_count_both(org: Org, tmp_path: Path) -> None:
    shared = [combined(path="/health", at=THEN + timedelta(seconds=n)) for n in range(20)]
    logs = []
    for server in ("a", "b"):
        (tmp_path / server).mkdir()
        own = [combined(n, path=f"/{server}") for n in range(20)]
        content = [line for pair in zip(shared, own, strict=True) for line in pair]
        logs.append(write(tmp_path / server / "access.log", content))

    outcomes = [importing(log, org, SHIFT) for log in (*logs, *logs)]

    assert [outcome.accepted for outcome in outcomes] == [40, 40, 0, 0]
    assert counted(org) == events(org) == 80


def test_named_source_is_one_log_whatever_its_files_hold(org: Org, tmp_path: Path) -> None:
    importing(write(tmp_path / "a", lines(10)), org, SHIFT, "--source", "web")

    overlap = importing(write(tmp_path / "b", lines(10, start=5)), org, "--source", "web")
    same_name = importing(write(tmp_path / "web", lines(10)), org)
    unnamed = importing(write(tmp_path / "c", lines(10)), org, SHIFT)

    assert (overlap.accepted, overlap.duplicate) == (5, 5)
    assert (same_name.accepted, same_name.duplicate) == (0, 10)
    assert (unnamed.accepted, unnamed.duplicate) == (10, 0)


def test_log_counted_again_on_purpose_leaves_the_first_as_it_was(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(100))
    importing(log, org, SHIFT)
    importing(write(tmp_path / "part", lines(20, start=50)), org, SHIFT, "--source", "again")

    outcome = importing(log, org)

    assert (outcome.accepted, outcome.duplicate) == (0, 100)
    assert counted(org) == 120


def test_source_counted_under_its_name_alone_is_known_under_any(org: Org, tmp_path: Path) -> None:
    """What an installation holds from before logs were known by what they hold."""
    now = clock.now().replace(microsecond=0)
    content = [combined(n, at=now) for n in range(300)]
    ImportRun.objects.create(
        org_id=org.id, source="access.log", metric="api_call", created_at=now, finished_at=now
    )
    old = [
        NewUsageEvent("api_call", 1, now, event_id("access.log", line.encode(), 1))
        for line in content[150:]
    ]
    record(org_id=org.id, events=old, now=now)

    renamed = importing(write(tmp_path / "access-2026-11-27T10-00-00.000.log", content), org)
    same_name = importing(write(tmp_path / "access.log.1", content), org)

    assert (renamed.accepted, renamed.duplicate) == (150, 150)
    assert (same_name.accepted, same_name.duplicate) == (0, 300)
    assert not ImportedLog.objects.exists()


def test_log_known_under_another_name_is_told_so(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(3))
    importing(log, org, SHIFT)

    outcome = importing(log.rename(tmp_path / "other"), org)

    assert "known as" in outcome.text
    assert "access.log" in outcome.text


def test_other_metric_under_another_name_counts_for_itself(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(3))
    importing(log, org, SHIFT)

    outcome = importing(log, org, SHIFT, "--source", "cpu", metric="compute_ms")

    assert (outcome.accepted, counted(org), counted(org, "compute_ms")) == (3, 3, 3)


def test_units_of_a_known_log_cannot_change_with_its_name(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(3))
    importing(log, org, SHIFT)

    outcome = importing(log.rename(tmp_path / "other"), org, "--value", "2")

    assert (outcome.code, "units per line" in outcome.said) == (2, True)
    assert counted(org) == 3
