"""manage.py import_usage: each request of a log counts once."""

import gzip
import io
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.contract import clock
from tests.support.cast import Org, make_org
from tests.usage.importing import DATA, combined, counted, events, importing, lines, write
from tokens.models import OrgAccess
from usage.models import ImportRun, UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sample(name: str, folder: Path) -> Path:
    """Copy a sample log, so that rejects do not land beside the original."""
    copy = folder / name
    copy.write_bytes((DATA / name).read_bytes())
    return copy


def test_each_request_becomes_one_event(org: Org, tmp_path: Path) -> None:
    log = sample("combined.log", tmp_path)

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.number("read"), outcome.accepted) == (0, 7, 7)
    assert counted(org) == events(org) == 7
    assert not (tmp_path / "combined.log.rejects").exists()


def test_second_run_finds_only_duplicates(org: Org, tmp_path: Path) -> None:
    log = sample("combined.log", tmp_path)
    importing(log, org, "--shift-to-now")

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.accepted, outcome.duplicate, outcome.rejected) == (0, 0, 7, 0)
    assert counted(org) == events(org) == 7


def test_one_log_counts_for_each_organisation(org: Org, stranger: Org, tmp_path: Path) -> None:
    log = sample("combined.log", tmp_path)

    outcomes = [importing(log, one, "--shift-to-now") for one in (org, stranger)]

    assert [outcome.accepted for outcome in outcomes] == [7, 7]
    assert counted(org) == counted(stranger) == 7


def test_the_run_keeps_its_numbers(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", [*lines(3), "nonsense", combined(9, status=500)])

    importing(log, org, "--shift-to-now", "--status", "2xx")

    run = ImportRun.objects.get(org_id=org.id, source="access.log")
    assert (run.metric, run.units) == ("api_call", "1 each")
    assert (run.read, run.filtered, run.accepted, run.duplicate, run.rejected) == (5, 1, 3, 0, 1)
    assert run.finished_at is not None


def test_lines_that_mean_nothing_are_kept_with_the_reason(org: Org, tmp_path: Path) -> None:
    log = sample("damaged.log", tmp_path)

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.number("read"), outcome.accepted) == (1, 5, 2)
    rejects = (tmp_path / "damaged.log.rejects").read_text().splitlines()
    assert [line.split("\t")[:2] for line in rejects] == [
        ["2", "MALFORMED: neither Common or Combined Log Format nor JSON"],
        ["3", "MALFORMED: its time is not one of the Common Log Format"],
        ["5", "MALFORMED: time is not an RFC 3339 instant with an offset"],
    ]
    assert rejects[0].split("\t")[2] == "Traceback (most recent call last):"
    assert "damaged.log.rejects" in outcome.said
    assert "           1  MALFORMED: its time" in outcome.text


def test_rejects_of_an_earlier_run_go_when_there_are_none_any_more(
    org: Org, tmp_path: Path
) -> None:
    log = write(tmp_path / "access.log", ["nonsense", *lines(2)])
    importing(log, org, "--shift-to-now")
    assert (tmp_path / "access.log.rejects").exists()
    write(log, lines(2))

    outcome = importing(log, org)

    assert (outcome.code, outcome.duplicate) == (0, 2)
    assert not (tmp_path / "access.log.rejects").exists()


def test_rejects_go_where_they_are_asked_for(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", ["nonsense"])

    outcome = importing(log, org, "--rejects", "other.txt")

    assert outcome.code == 1
    assert (tmp_path / "other.txt").read_text().endswith("\tnonsense\n")
    assert not (tmp_path / "access.log.rejects").exists()


def test_log_in_a_closed_folder_leaves_it_as_it_is(org: Org, tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "data"
    closed = tmp_path / "closed"
    closed.mkdir()
    log = write(closed / "access.log", ["nonsense"])
    closed.chmod(0o555)

    outcome = importing(log, org, "--shift-to-now")

    closed.chmod(0o755)
    assert [path.name for path in closed.iterdir()] == ["access.log"]
    kept = tmp_path / "data" / "imports" / "access.log.rejects"
    assert kept.read_text().endswith("\tnonsense\n")
    assert str(kept) in outcome.said


def test_a_file_that_holds_no_rejects_is_not_replaced(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(1))
    other = write(tmp_path / "notes.txt", ["dear diary"])

    outcome = importing(log, org, "--shift-to-now", "--rejects", str(other))

    assert (outcome.code, "holds no rejected lines" in outcome.said) == (2, True)
    assert other.read_text() == "dear diary\n"


def test_identical_lines_are_as_many_events(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", [combined()] * 2500)

    first = importing(log, org, "--shift-to-now")
    second = importing(log, org)

    assert (first.accepted, second.duplicate) == (2500, 2500)
    assert counted(org) == events(org) == 2500


def test_filters_do_not_change_what_a_line_is_called(org: Org, tmp_path: Path) -> None:
    kinds = [combined(path="/api/x"), combined(path="/static/x"), combined(path="/api/y")]
    log = write(tmp_path / "access.log", kinds * 3)

    only_x = importing(log, org, "--shift-to-now", "--path", "/api/x")
    everything = importing(log, org)

    assert (only_x.accepted, only_x.number("filtered out")) == (3, 6)
    assert (everything.accepted, everything.duplicate) == (6, 3)
    assert counted(org) == 9


def test_filters_of_all_kinds_may_be_given_more_than_once(org: Org, tmp_path: Path) -> None:
    log = sample("combined.log", tmp_path)

    outcome = importing(
        log, org, "--shift-to-now", "--path", "/static/", "--path-regex", r"^/api/items$",
        "--method", "get,head", "--method", "POST", "--status", "2xx", "--status", "300-310",
    )  # fmt: skip

    assert (outcome.accepted, outcome.number("filtered out")) == (4, 3)


def test_each_line_may_be_worth_more(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(3))

    outcome = importing(log, org, "--shift-to-now", "--value", "5")

    assert (outcome.accepted, outcome.number("units counted")) == (3, 15)
    assert counted(org) == 15


def test_bytes_of_a_line_may_be_its_units(org: Org, tmp_path: Path) -> None:
    log = sample("combined.log", tmp_path)

    outcome = importing(log, org, "--shift-to-now", "--units-from", "bytes", metric="compute_ms")

    # Four requests were answered with no body: nothing was used, nothing is refused.
    assert (outcome.accepted, outcome.number("without units"), outcome.code) == (3, 4, 0)
    assert counted(org, "compute_ms") == 5120 + 310 + 19


def test_json_lines_bring_their_units(org: Org, tmp_path: Path) -> None:
    log = sample("requests.jsonl", tmp_path)

    outcome = importing(log, org, "--shift-to-now", "--value", "3")

    assert outcome.number("units counted") == 3 + 40 + 2
    assert counted(org) == 45


def test_a_json_field_may_be_the_units(org: Org, tmp_path: Path) -> None:
    log = sample("requests.jsonl", tmp_path)

    outcome = importing(
        log, org, "--shift-to-now", "--units-from", "duration_ms", metric="compute_ms"
    )

    assert (outcome.accepted, outcome.rejected) == (2, 1)
    assert "MALFORMED: has no field duration_ms" in outcome.text
    assert counted(org, "compute_ms") == 1887


def test_standard_input_counts_as_the_file_it_came_from(
    org: Org, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = sample("combined.log", tmp_path)
    importing(log, org, "--shift-to-now")
    packed = io.BytesIO(gzip.compress(log.read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(packed))

    outcome = importing("-", org, "--source", "combined.log")

    assert (outcome.accepted, outcome.duplicate) == (0, 7)


def test_an_empty_log_is_nothing_to_complain_of(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", [])

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.number("read"), outcome.accepted) == (0, 0, 0)


def test_without_a_shift_old_instants_are_rejected(org: Org, tmp_path: Path) -> None:
    now = clock.now()
    log = write(tmp_path / "access.log", [combined(1), combined(2, at=now)])

    outcome = importing(log, org)

    assert (outcome.code, outcome.accepted, outcome.rejected) == (1, 1, 1)
    assert "VALIDATION_ERROR" in outcome.text
    assert UsageEvent.objects.get().occurred_at == now.replace(microsecond=0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "ok"], "is not a status"),
        (["--path-regex", "("], "not a regular expression"),
        (["--value", "0"], "1 to 1000000000 units"),
        (["--units-from", "a b"], "not the name of a field"),
        (["--source", ""], "A source label has"),
        (["--rejects", "/nowhere/rejects"], "cannot be written to /nowhere/rejects"),
        (["--rejects", "access.log"], "the log itself"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    org: Org, tmp_path: Path, options: list[str], said: str
) -> None:
    log = write(tmp_path / "access.log", lines(1))

    outcome = importing(log, org, "--shift-to-now", *options)

    assert outcome.code == 2
    assert said in outcome.said
    assert events(org) == 0
    assert log.read_text().count("\n") == 1


@pytest.mark.parametrize(
    "options", [["--value", "2", "--units-from", "bytes"], ["--value", "x"], ["--colour"]]
)
def test_command_line_that_cannot_be_read_is_refused(
    org: Org, tmp_path: Path, options: list[str]
) -> None:
    outcome = importing(write(tmp_path / "access.log", lines(1)), org, *options)

    assert outcome.said.startswith("Error: ")
    assert events(org) == 0


@pytest.mark.parametrize("name", ["absent.log", "."])
def test_log_that_cannot_be_read_is_refused(org: Org, name: str) -> None:
    outcome = importing(name, org, "--source", "x")

    assert outcome.code == 2
    assert "cannot be read" in outcome.said


def test_standard_input_without_a_name_is_refused(org: Org) -> None:
    outcome = importing("-", org)

    assert (outcome.code, "--source" in outcome.said) == (2, True)


def test_unknown_organisation_is_refused(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(1))
    nobody = Org("org_01KAPM3Q5M8Y2V4T6R8W0Z1X3C", org.tokens)

    outcome = importing(log, nobody)

    assert (outcome.code, outcome.said) == (2, f"There is no organisation {nobody.id}")
    assert not ImportRun.objects.exists()


def test_suspended_organisation_is_refused(org: Org, tmp_path: Path) -> None:
    OrgAccess.objects.filter(org_id=org.id).update(suspended_at=clock.now())

    outcome = importing(write(tmp_path / "access.log", lines(1)), org, "--shift-to-now")

    assert (outcome.code, outcome.said) == (2, "The organisation is suspended")
    assert events(org) == 0


def test_unknown_metric_is_refused_and_the_known_ones_named(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(1))

    outcome = importing(log, org, metric="calls")

    assert outcome.code == 2
    assert outcome.said == "There is no metric calls; there is: api_call, compute_ms"


@pytest.mark.parametrize(
    ("options", "metric", "said"),
    [
        ([], "compute_ms", "metric: api_call, not compute_ms"),
        (["--value", "2"], "api_call", "units per line: 1 each, not 2 each"),
        (["--units-from", "bytes"], "api_call", "units per line: 1 each, not field bytes"),
    ],
)
def test_source_keeps_what_it_was_counted_as(
    org: Org, tmp_path: Path, options: list[str], metric: str, said: str
) -> None:
    log = write(tmp_path / "access.log", lines(2))
    importing(log, org, "--shift-to-now")

    outcome = importing(log, org, *options, metric=metric)

    assert outcome.code == 2
    assert said in outcome.said
    assert importing(log, org).duplicate == 2


def test_another_label_counts_the_log_anew(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", lines(2))
    importing(log, org, "--shift-to-now")

    outcome = importing(
        log, org, "--shift-to-now", "--source", "again", "--value", "9", metric="compute_ms"
    )

    assert outcome.accepted == 2
    assert (counted(org), counted(org, "compute_ms")) == (2, 18)


def test_events_hold_what_the_line_said(org: Org, tmp_path: Path) -> None:
    at = (clock.now() - timedelta(seconds=1)).replace(microsecond=0)
    log = write(tmp_path / "access.log", [combined(at=at)])

    importing(log, org, "--value", "4")

    event = UsageEvent.objects.get()
    assert (event.metric, event.value, event.occurred_at) == ("api_call", 4, at)
    assert event.request_id.startswith("log_")


def test_cancelled_organisation_is_charged_nothing(transactional_db: None, tmp_path: Path) -> None:
    org = make_org(status="canceled")

    outcome = importing(write(tmp_path / "access.log", lines(3)), org, "--shift-to-now")

    assert (outcome.code, outcome.accepted, outcome.rejected) == (1, 0, 3)
    assert "3  PAYMENT_REQUIRED" in outcome.text
