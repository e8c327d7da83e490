"""The documents on security name what is there, and leave nothing out."""

import csv
import re
from pathlib import Path

import pytest

from tests.support.live import ROOT
from tests.support.named_tests import NAMED

IDS = Path(__file__).with_name("asvs-5.0.0.csv")
DOCUMENTS = ("docs/security.md", "docs/threat-model.md")
VERDICTS = {"met", "not met", "does not apply"}
_FILE = re.compile(r"`((?:config|billing|quotas|tokens|usage|webhooks|docs|requirements)/[\w./]+)`")


def rows() -> list[list[str]]:
    """Return the cells of each row of the table of requirements."""
    lines = (ROOT / "docs/security.md").read_text().splitlines()
    return [
        [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| v5.0.0-")
    ]


@pytest.mark.parametrize("document", [*DOCUMENTS, "SECURITY.md"])
def test_every_file_that_is_named_or_linked_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", text)

    assert not [name for name in _FILE.findall(text) if not (ROOT / name).exists()]
    assert not [name for name in linked if not ((ROOT / document).parent / name).resolve().exists()]


def test_every_requirement_stands_in_the_table_once_with_its_level() -> None:
    with IDS.open() as file:
        expected = {line["id"]: line["level"] for line in csv.DictReader(file)}
    table = rows()

    assert len(expected) == 253
    assert [row[0] for row in table] == list(expected)
    assert {row[0]: row[1] for row in table} == expected


def test_what_is_met_names_its_test_and_all_else_says_why() -> None:
    for identity, _, short, verdict, why in rows():
        assert verdict in VERDICTS, identity
        assert short, identity
        if verdict == "met":
            assert NAMED.search(why), identity
        else:
            assert len(NAMED.sub("", why)) > 5, identity


def test_the_counts_above_the_table_are_those_of_the_table() -> None:
    text = (ROOT / "docs/security.md").read_text()
    for level in ("1", "2"):
        counts = [
            sum(row[1] == level and row[3] == verdict for row in rows())
            for verdict in ("met", "not met", "does not apply")
        ]

        assert f"| level {level} | {counts[0]} | {counts[1]} | {counts[2]} |" in text


def test_every_secret_setting_is_in_the_inventory_of_keys() -> None:
    inventory = (ROOT / "docs/security.md").read_text().partition("## Keys")[2]
    inventory = inventory.partition("## Algorithms")[0]
    settings = (ROOT / ".env.example").read_text()
    secret = re.findall(r"^(\w*(?:_KEYS?|_SECRETS|_URL))=", settings, re.MULTILINE)
    not_secret = {"PUBLIC_URL", "SANDBOX_URL", "SANDBOX_DATABASE_URL"}

    assert len(secret) > 8
    assert not [name for name in secret if name not in not_secret and f"`{name}`" not in inventory]


def test_words_that_no_password_may_rest_on_are_all_documented() -> None:
    from config.backoffice.passwords import CONTEXT_WORDS

    text = (ROOT / "docs/security.md").read_text()

    assert not [word for word in CONTEXT_WORDS if f"`{word}`" not in text]


def test_the_times_for_libraries_are_written_down() -> None:
    libraries = (ROOT / "SECURITY.md").read_text().partition("## Libraries")[2]

    assert len(re.findall(r"\| \d+ days \|", libraries)) == 3


def test_the_documents_are_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert all(f"]({name})" in readme for name in ("SECURITY.md", *DOCUMENTS))
