"""A real public log of 10,000 requests, where the checkout has one beside it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.cast import make_org
from tests.usage.importing import counted, events, importing

LOG = Path(__file__).resolve().parents[3] / "shared" / "data" / "apache_access.log"
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not LOG.is_file(), reason="needs ../shared/data/apache_access.log"),
]


def test_every_request_counts_once_and_a_second_run_finds_only_duplicates(
    transactional_db: None,
) -> None:
    org = make_org(plan="pro")
    lines = Counter(LOG.read_bytes().splitlines())
    assert (lines.total(), sum(count > 1 for count in lines.values())) == (10_000, 17)

    first = importing(LOG, org, "--shift-to-now")
    second = importing(LOG, org, "--shift-to-now")

    assert (first.code, first.accepted, first.duplicate, first.rejected) == (0, 10_000, 0, 0)
    assert (second.code, second.accepted, second.duplicate, second.rejected) == (0, 0, 10_000, 0)
    assert counted(org) == events(org) == 10_000


def test_accepted_are_the_lines_that_pass_the_filter(transactional_db: None) -> None:
    org = make_org(plan="pro")
    expected = sum(
        re.search(rb'"GET /(?:presentations|blog)/[^"]*" (?:2\d\d|304) ', line) is not None
        for line in LOG.read_bytes().splitlines()
    )

    outcome = importing(
        LOG, org, "--shift-to-now", "--path", "/presentations/", "--path", "/blog/",
        "--method", "GET", "--status", "2xx", "--status", "304",
    )  # fmt: skip

    assert outcome.accepted == expected > 3000
    assert outcome.number("filtered out") == 10_000 - expected
    assert counted(org) == events(org) == expected


def test_starter_with_9000_used_stops_exactly_at_the_limit(
    transactional_db: None, tmp_path: Path
) -> None:
    org = make_org(plan="starter")
    org.use(9000)

    outcome = importing(LOG, org, "--shift-to-now", "--rejects", str(tmp_path / "rejects"))

    assert (outcome.code, outcome.accepted, outcome.rejected) == (1, 1000, 9000)
    assert "9,000  RATE_LIMITED: Quota exceeded" in outcome.text
    assert counted(org) == 10_000
    assert events(org) == 1001
