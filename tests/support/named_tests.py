"""Which tests a document names, and whether there are such: a table of promises must not rot."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.live import ROOT

#: `tests/usage/test_void.py::test_name`, with or without a class or parameters behind it.
_NAMED = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")


def named_tests(document: Path) -> list[tuple[str, str]]:
    """Return the (file, function) pairs that a document names; of a file alone, no function."""
    return [(file, name) for file, name in _NAMED.findall(document.read_text())]


def missing_tests(document: Path) -> Iterator[str]:
    """Yield what a document names and what is not there."""
    for file, name in named_tests(document):
        if name not in _functions_of(file):
            yield f"{file}::{name}"


@cache
def _functions_of(file: str) -> frozenset[str]:
    """Return the functions of a test file, and the empty name of the file itself."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text())
    return frozenset(
        {"", *(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))}
    )
