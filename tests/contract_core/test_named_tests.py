"""What the documents say that a test holds, a test holds."""

from pathlib import Path

import pytest

from tests.support.live import ROOT
from tests.support.named_tests import missing_tests, named_tests


@pytest.mark.parametrize("name", ["testing.md"])
def test_a_document_names_only_tests_that_there_are(name: str) -> None:
    document = ROOT / "docs" / name

    assert len(named_tests(document)) > 10
    assert list(missing_tests(document)) == []


def test_a_test_that_is_not_there_is_missed(tmp_path: Path) -> None:
    document = tmp_path / "promises.md"
    document.write_text(
        "`tests/contract_core/test_named_tests.py::test_a_test_that_is_not_there_is_missed`"
        " `tests/contract_core/test_named_tests.py`"
        " `tests/contract_core/test_named_tests.py::test_nothing` `tests/nowhere.py::test_x`"
    )

    assert list(missing_tests(document)) == [
        "tests/contract_core/test_named_tests.py::test_nothing",
        "tests/nowhere.py::test_x",
    ]
