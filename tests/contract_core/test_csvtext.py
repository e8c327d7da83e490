"""Cells that a spreadsheet shows and never runs."""

import csv
import io
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.contract import csvtext

RUNS = "=+-@\t\r\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize(
    "cell",
    [
        *('=HYPERLINK("http://x")', "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1"),
        *('"=1+1"', "'=1+1", "  =1", "\u201c=1", "\uff1d1+1", "'\"+1"),
    ],
)
def test_a_formula_becomes_text(cell: str) -> None:
    assert csvtext.safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "Acme = Ltd", "a-b", "1+1", "org_01", "Ümläut ☃", "O'Brien"])
def test_other_texts_stay_as_they_are(cell: str) -> None:
    assert csvtext.safe(cell) == cell


@given(st.text())
def test_whatever_the_text_no_cell_begins_like_a_formula(cell: str) -> None:
    safe = csvtext.safe(cell)

    bare = safe.lstrip(" \"'\u201c\u201d\u2018\u2019`")
    assert safe.startswith("'") or not (bare and bare[0] in RUNS)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (-5, "-5"),
        (Decimal("0.000000000001"), "0.000000000001"),
        (date(2026, 11, 2), "2026-11-02"),
        (datetime(2026, 11, 2, 10, tzinfo=UTC), "2026-11-02T10:00:00Z"),
        (datetime(2026, 11, 2, 10, 0, 0, 7, timezone(timedelta(hours=1))),)
        + ("2026-11-02T09:00:00.000007Z",),
        ({"b": [1, "=x"]}, '{"b":[1,"=x"]}'),
        (["=x"], '["=x"]'),
        ({"secret": "whsec_x", "to": "a@b.example"}, '{"secret":"[redacted]","to":"[redacted]"}'),
    ],
)
def test_values_are_written_for_machines(value: Any, cell: str) -> None:
    assert csvtext.text(value) == cell


@given(st.lists(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))))
def test_a_reader_gets_back_what_was_written(rows: list[list[str]]) -> None:
    rows = [row for row in rows if row]

    read = list(csv.reader(io.StringIO(csvtext.lines(rows), newline="")))

    assert read == [[csvtext.safe(cell) for cell in row] for row in rows]
