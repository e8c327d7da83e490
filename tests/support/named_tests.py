"""Which tests a document names, and whether there are such: a table of promises must not rot."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.live import ROOT

TESTS = ROOT / "tests"
#: `usage/test_void.py::test_name`, from the folder of the tests.
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def named_tests(document: Path) -> list[tuple[str, str]]:
    """Return the (file, test) pairs that a document names, each once."""
    return sorted(set(NAMED.findall(document.read_text())))


def missing_tests(document: Path) -> Iterator[str]:
    """Yield the tests that a document names and that are not there."""
    for file, name in named_tests(document):
        if name not in _tests_in(TESTS / file):
            yield f"{file}::{name}"


@cache
def _tests_in(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    functions = (
        one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.FunctionDef)
    )
    return frozenset(one.name for one in functions if one.name.startswith("test_"))
