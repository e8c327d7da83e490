"""Tables as text (RFC 4180) that a spreadsheet shows and never runs.

A spreadsheet takes a cell that begins with one of a few characters for a formula,
quoted or not, and anybody may sign up under a name like that. An apostrophe before
it makes it text. Numbers of ours stay numbers: `-5` is a formula that says -5.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from config.contract.bodies import rfc3339
from config.contract.logs import cleaned

#: Also past blanks and quotes, which some programs take off, and in full width.
_FORMULA = re.compile("[\\s\"'\u201c\u201d\u2018\u2019`]*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
#: So does a cell that begins with one of these, whatever comes after.
_CONTROL = ("\t", "\r", "\n", "\x0b", "\x0c")


def text(value: Any) -> str:
    """Return one value as a cell: instants in RFC 3339, nothing as nothing, no secret in JSON."""
    written = _BY_TYPE.get(type(value))
    return written(value) if written else safe(str(value))


def safe(cell: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    if _FORMULA.match(cell) or cell.startswith(_CONTROL):
        return f"'{cell}"
    return cell


def lines(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as lines, every cell quoted, each ending with CR LF."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows([text(value) for value in row] for row in rows)
    return out.getvalue()


def _json(value: Any) -> str:
    return safe(msgspec.json.encode(cleaned(value)).decode())


_BY_TYPE: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: repr,
    Decimal: lambda value: f"{value:f}",
    datetime: rfc3339,
    date: date.isoformat,
    dict: _json,
    list: _json,
    tuple: _json,
}
