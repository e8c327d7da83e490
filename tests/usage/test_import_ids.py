"""What an event of a log is called: the same for ever, and never the same twice."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage.importing.errors import CannotImport
from usage.importing.ids import checked, event_id, source_of
from usage.importing.repeats import Repeats


def test_id_of_a_line_never_changes() -> None:
    # If this fails, logs that were imported before would be counted again.
    assert event_id("access.log", b"GET /", 2) == (
        "log_124c27215d415496_0103d0bb0294a14a43548cd40b4228c20952d3e70d1fafa4266ff8d2b4ffcd19"
    )


def test_source_line_and_ordinal_each_make_another_id() -> None:
    ids = {
        event_id(source, raw, ordinal)
        for source in ("a", "b")
        for raw in (b"", b"x", b"1\0x")
        for ordinal in (1, 2, 11)
    }

    assert len(ids) == 2 * 3 * 3
    assert all(len(one) == 85 for one in ids)


@pytest.mark.parametrize(
    "name",
    ["access.log", "access.log.1", "access.log.12.gz", "access.log.gz", "access.log-20150520",
     "access.log-20150520.gz", "access.log.2015-05-20", "access.log-2015052013.gz",
     "access-20150520.log", "access.2015-05-20.log.gz", "access_2015-05-20_13.log",
     "access.log.1432123200", "access.log-20150520-1432123200.gz", "/var/log/x/access.log.1"],
)  # fmt: skip
def test_rotation_leaves_the_source_the_same(name: str) -> None:
    assert source_of(name) == "access.log"


@pytest.mark.parametrize("name", ["1", ".1", "20150520", "v2-99999999.log", "app2.log", "gz"])
def test_name_that_is_no_rotation_stays(name: str) -> None:
    assert source_of(name) == name


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "x" * 101])
def test_label_that_cannot_be_kept_is_refused(label: str) -> None:
    with pytest.raises(CannotImport, match="--source"):
        checked(label)


@pytest.mark.parametrize("path", ["-", "/dev/null"])
def test_what_has_no_file_name_must_be_named(path: str) -> None:
    with pytest.raises(CannotImport, match="--source"):
        source_of(path)


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]) | st.binary(max_size=4)))
def test_identical_lines_are_numbered_from_one(lines: list[bytes]) -> None:
    repeats = Repeats(likely_lines=0)
    for line in lines:
        repeats.look(line)

    numbered = [(line, repeats.ordinal(line)) for line in lines]

    assert Counter(numbered) == Counter(
        (line, n) for line, times in Counter(lines).items() for n in range(1, times + 1)
    )


def test_lines_that_differ_are_not_remembered_one_by_one() -> None:
    repeats = Repeats(likely_lines=50_000)
    for n in range(50_000):
        repeats.look(b"%d" % n)

    assert repeats.kept < 500


def test_more_lines_than_expected_cost_memory_but_no_wrong_number() -> None:
    repeats = Repeats(likely_lines=0)
    for n in range(400_000):
        repeats.look(b"%d" % n)
    repeats.look(b"7")

    assert repeats.kept > 1_000
    assert all(repeats.ordinal(b"%d" % n) == 1 for n in range(400_000))
    assert repeats.ordinal(b"7") == 2
