"""An import stops exactly at the limit."""

from pathlib import Path

import pytest
from django.db import transaction

from config.contract import clock
from quotas.models import Entitlement
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, data
from tests.usage.importing import combined, counted, events, importing, lines, write
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "access.log", lines(2500))


def include(org: Org, units: int) -> None:
    held = Entitlement.objects.get(org_id=org.id)
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="starter",
            status="active",
            allowances={"api_call": Allowance(units, "block")},
            because="test",
            now=clock.now(),
            anchor_at=held.anchor_at,
        )


def test_lines_past_the_limit_are_rejected_and_not_one_unit_more_is_counted(
    org: Org, log: Path, tmp_path: Path
) -> None:
    org.use(9000)

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.accepted, outcome.rejected) == (1, 1000, 1500)
    assert "1,500  RATE_LIMITED: Quota exceeded" in outcome.text
    assert counted(org) == 10_000
    assert events(org) == 1 + 1000
    rejects = (tmp_path / "access.log.rejects").read_text().splitlines()
    assert len(rejects) == 1500
    assert rejects[0] == f"1001\tRATE_LIMITED: Quota exceeded\t{lines(1, start=1000)[0]}"


def test_second_run_at_the_limit_changes_nothing(org: Org, log: Path) -> None:
    org.use(9000)
    importing(log, org, "--shift-to-now")

    outcome = importing(log, org)

    assert (outcome.accepted, outcome.duplicate, outcome.rejected) == (0, 1000, 1500)
    assert counted(org) == 10_000


def test_what_was_rejected_counts_once_more_is_included(org: Org, log: Path) -> None:
    org.use(9000)
    importing(log, org, "--shift-to-now")
    include(org, 20_000)

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.accepted, outcome.duplicate) == (0, 1500, 1000)
    assert counted(org) == 11_500


def test_larger_lines_are_decided_in_order_and_never_pass_the_limit(
    org: Org, tmp_path: Path
) -> None:
    org.use(9000)
    sizes = ["600", "500", "300", "200", "100"]
    log = write(tmp_path / "sized.log", [combined(n, size=s) for n, s in enumerate(sizes)])

    outcome = importing(log, org, "--shift-to-now", "--units-from", "bytes")

    assert (outcome.accepted, outcome.rejected) == (3, 2)
    assert sorted(UsageEvent.objects.values_list("value", flat=True)) == [100, 300, 600, 9000]
    assert counted(org) == 10_000


def test_what_was_imported_is_seen_by_the_next_check(org: Org, log: Path) -> None:
    org.use(7500)

    importing(log, org, "--shift-to-now")

    assert data(org.check(soft=True))["code"] == "RATE_LIMITED"
