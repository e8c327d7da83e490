"""--shift-to-now: an old log becomes use of the current period, the same at every import."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.contract import clock
from tests.support.cast import Org, make_org
from tests.usage.importing import THEN, combined, counted, events, importing, write
from usage.models import ImportRun, UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _mid_month(transactional_db: None) -> None:
    """It is noon on the 15th of next month, so that no test runs across a month's end."""
    now = clock.real_now()
    move_to((now.replace(day=1) + 32 * DAY).replace(day=15, hour=12, minute=0))


def move_to(now: datetime) -> None:
    clock.set_offset((now - clock.real_now()).total_seconds())


def instants(org: Org) -> list[datetime]:
    rows = UsageEvent.objects.filter(org_id=org.id).order_by("occurred_at")
    return [row.occurred_at for row in rows]


def month_start() -> datetime:
    return clock.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def spread(tmp_path: Path) -> Path:
    """Lines of 40 days; the last instant is not on the last line."""
    days = (-40, -20, -14, -2, 0, -1)
    return write(tmp_path / "access.log", [combined(n, at=THEN + n * DAY) for n in days])


def test_last_instant_becomes_now_and_the_distances_stay(org: Org, spread: Path) -> None:
    before = clock.now()

    importing(spread, org, "--shift-to-now")

    last = instants(org)[-1]
    assert before - timedelta(seconds=1) < last <= clock.now()
    assert instants(org)[2:] == [last - 14 * DAY, last - 2 * DAY, last - DAY, last]


def test_what_lies_before_the_current_period_moves_to_its_start(org: Org, spread: Path) -> None:
    outcome = importing(spread, org, "--shift-to-now")

    assert (outcome.accepted, outcome.rejected) == (6, 0)
    assert instants(org)[:2] == [month_start(), month_start()]
    assert counted(org) == 6


def test_a_billing_period_is_the_floor_where_the_organisation_has_those(spread: Path) -> None:
    anchor = clock.now() - 10 * DAY
    org = make_org(period_rule="billing_month", anchor_at=anchor)

    importing(spread, org, "--shift-to-now")

    assert instants(org)[:3] == [anchor, anchor, anchor]


def test_shift_is_fixed_by_all_lines_whatever_the_filter(org: Org, spread: Path) -> None:
    with spread.open("a") as log:
        log.write(combined(status=500, at=THEN + DAY) + "\n")

    importing(spread, org, "--shift-to-now", "--status", "2xx")

    assert instants(org)[-1] <= clock.now() - DAY
    assert importing(spread, org).number("accepted") == 1


@pytest.mark.parametrize("options", [["--shift-to-now"], []])
def test_shift_is_reused_with_the_flag_and_without(
    org: Org, spread: Path, options: list[str]
) -> None:
    importing(spread, org, "--shift-to-now")
    [*_, last] = instants(org)
    move_to(clock.now() + timedelta(hours=2))
    with spread.open("a") as log:
        log.write(combined(at=THEN + timedelta(hours=1)) + "\n")

    outcome = importing(spread, org, *options)

    assert (outcome.accepted, outcome.duplicate, outcome.rejected) == (1, 6, 0)
    assert instants(org)[-1] == last + timedelta(hours=1)


def test_run_in_a_later_period_finds_only_duplicates(org: Org, spread: Path) -> None:
    importing(spread, org, "--shift-to-now")
    move_to(clock.now() + 70 * DAY)

    outcome = importing(spread, org, "--shift-to-now")

    assert (outcome.code, outcome.duplicate, outcome.rejected) == (0, 6, 0)
    assert counted(org) == events(org) == 6


def test_lines_of_a_closed_period_are_rejected_later(org: Org, spread: Path) -> None:
    importing(spread, org, "--shift-to-now")
    move_to(clock.now() + 70 * DAY)
    with spread.open("a") as log:
        log.write(combined(9) + "\n")

    outcome = importing(spread, org)

    assert (outcome.duplicate, outcome.rejected) == (6, 1)
    assert "VALIDATION_ERROR" in outcome.text


def test_source_counted_without_a_shift_cannot_be_shifted(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", [combined(at=clock.now())])
    importing(log, org)

    outcome = importing(log, org, "--shift-to-now")

    assert outcome.code == 2
    assert "without a shift" in outcome.said
    assert importing(log, org).duplicate == 1


def test_shift_may_be_asked_for_after_nothing_was_counted(org: Org, spread: Path) -> None:
    refused = importing(spread, org)
    assert (refused.accepted, refused.rejected) == (0, 6)

    outcome = importing(spread, org, "--shift-to-now")

    assert (outcome.accepted, outcome.rejected) == (6, 0)


def test_run_that_was_killed_may_have_counted_so_its_shift_stays(org: Org, spread: Path) -> None:
    # What a killed run leaves: a row that is not finished; its last batch may
    # still be on the way to the ledger.
    ImportRun.objects.create(
        org_id=org.id, source="access.log", metric="api_call", created_at=clock.now(),
        shift_seconds=int((clock.now() - THEN).total_seconds()) - 60, floor_at=month_start(),
    )  # fmt: skip

    importing(spread, org, "--shift-to-now")

    assert instants(org)[-1] <= clock.now() - timedelta(seconds=60)


def test_log_of_the_future_moves_back(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", [combined(at=datetime(2080, 1, 1, tzinfo=UTC))])

    outcome = importing(log, org, "--shift-to-now")

    assert outcome.accepted == 1
    assert instants(org)[0] <= clock.now()


def test_log_without_any_instant_fixes_no_shift(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", ["nonsense"])
    importing(log, org, "--shift-to-now")
    write(log, [combined()])

    outcome = importing(log, org, "--shift-to-now")

    assert outcome.accepted == 1
