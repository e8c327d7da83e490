"""What a document says that a test holds, a test holds."""

from pathlib import Path

import pytest

from tests.support.live import ROOT
from tests.support.named_tests import missing_tests, named_tests


@pytest.mark.parametrize(
    "document", ["docs/testing.md", "docs/security.md", "docs/threat-model.md"]
)
def test_every_test_that_a_document_names_exists(document: str) -> None:
    assert len(named_tests(ROOT / document)) > 10
    assert list(missing_tests(ROOT / document)) == []


def test_a_test_that_is_not_there_is_missed(tmp_path: Path) -> None:
    document = tmp_path / "promises.md"
    document.write_text(
        "`contract_core/test_named_tests.py::test_a_test_that_is_not_there_is_missed`"
        " `contract_core/test_named_tests.py::test_nothing` `nowhere.py::test_x`"
    )

    assert list(missing_tests(document)) == [
        "contract_core/test_named_tests.py::test_nothing",
        "nowhere.py::test_x",
    ]
