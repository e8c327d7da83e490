"""Use by day: whole days, computed from the ledger, right whatever came late."""

import random
import threading
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Sum

from config.contract import clock
from tests.support.cast import Org, make_org
from tests.support.database import superuser
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.models import DailyTotal, DailyUsage, UsageEvent
from usage.queries import series
from usage.rollup import days_between, days_due, recent_days, roll_days
from usage.tasks import roll_days_up, roll_recent_days_up
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 20, 9, tzinfo=UTC)
TODAY = NOW.date()
MARCH = days_between(date(2026, 3, 1), date(2026, 3, 31))


@pytest.fixture
def metered_org(transactional_db: None) -> Org:
    return make_org(now=NOW - timedelta(days=19), included=1_000_000)


def use(
    org: Org, request_id: str, value: int, *, at: datetime = NOW, now: datetime | None = None
) -> None:
    event = NewUsageEvent("api_call", value, at, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now or max(at, NOW))
    assert outcome.status == "accepted", outcome


def void(org: Org, request_id: str, *, now: datetime = NOW) -> None:
    void_event(org_id=org.id, request_id=request_id, reason="x", voided_by="test", now=now)


def run(*days: date, now: datetime = NOW) -> int:
    """Compute the days, return how many rows were not so before."""
    return sum(rolled.changed for rolled in roll_days(days or MARCH, now=now))


def by_day(org: Org) -> dict[date, tuple[int, int]]:
    rows = DailyUsage.objects.filter(org_id=org.id, metric="api_call")
    return {row.day: (row.used, row.events) for row in rows}


def test_a_day_holds_the_sum_and_the_number_of_its_events(metered_org: Org) -> None:
    use(metered_org, "a", 3)
    use(metered_org, "b", 4)
    use(metered_org, "midnight", 5, at=datetime(2026, 3, 20, tzinfo=UTC))
    use(metered_org, "before", 6, at=datetime(2026, 3, 19, 23, 59, 59, 999_999, tzinfo=UTC))

    run()

    assert by_day(metered_org) == {TODAY: (12, 3), TODAY - timedelta(days=1): (6, 1)}


def test_totals_add_the_organisations_up(metered_org: Org) -> None:
    other = make_org(now=NOW, included=100)
    use(metered_org, "a", 3)
    use(other, "a", 4)
    use(other, "b", 5)

    run()

    total = DailyTotal.objects.get(metric="api_call", day=TODAY)
    assert (total.used, total.events, total.organisations) == (12, 3, 2)


def test_a_day_without_use_says_that_it_was_looked_at(metered_org: Org) -> None:
    run(TODAY)

    total = DailyTotal.objects.get(metric="api_call", day=TODAY)
    assert (total.used, total.events, total.organisations) == (0, 0, 0)
    assert total.computed_at == NOW


def test_running_twice_changes_nothing(metered_org: Org) -> None:
    use(metered_org, "a", 3)

    assert run() == 1
    held = list(DailyUsage.objects.values())

    assert run() == 0
    assert list(DailyUsage.objects.values()) == held


def test_a_voided_event_is_no_use_of_its_day(metered_org: Org) -> None:
    use(metered_org, "a", 3, at=NOW - timedelta(days=9))
    use(metered_org, "b", 4, at=NOW - timedelta(days=9))
    use(metered_org, "alone", 5, at=NOW - timedelta(days=8))
    run()

    void(metered_org, "b")
    void(metered_org, "alone")
    run(*days_due(now=NOW))

    assert by_day(metered_org) == {TODAY - timedelta(days=9): (3, 1)}
    gone = DailyTotal.objects.get(metric="api_call", day=TODAY - timedelta(days=8))
    assert (gone.used, gone.organisations) == (0, 0)


def test_an_event_of_an_older_day_makes_that_day_due(metered_org: Org) -> None:
    run(TODAY)
    later = NOW + timedelta(hours=5)
    use(metered_org, "late", 7, at=NOW - timedelta(days=12), now=later)

    due = days_due(now=later)

    assert due == {date(2026, 3, 8), date(2026, 3, 19), date(2026, 3, 20)}
    run(*due, now=later)
    assert by_day(metered_org) == {date(2026, 3, 8): (7, 1)}


def test_what_comes_after_the_clock_was_set_back_makes_its_day_due(metered_org: Org) -> None:
    run(TODAY)
    back = NOW - timedelta(days=3)
    use(metered_org, "late", 7, at=back - timedelta(days=5), now=back)

    assert (back - timedelta(days=5)).date() in days_due(now=back)


def test_before_the_first_run_every_day_is_due(metered_org: Org) -> None:
    use(metered_org, "old", 1, at=NOW - timedelta(days=15))

    assert days_due(now=NOW) == days_between(date(2026, 3, 5), TODAY)


def test_who_commits_after_a_run_that_began_later_is_counted_by_the_next(
    metered_org: Org,
) -> None:
    use(metered_org, "early", 1, at=NOW - timedelta(days=3))
    run()
    columns = [
        str(field.column) for field in UsageEvent._meta.concrete_fields if field.column != "id"
    ]
    copied = ", ".join(columns)
    changed = copied.replace("request_id", "'slow'").replace(" value", " 10")
    with superuser(str(connection.settings_dict["NAME"])) as other:
        with other.transaction():
            # Recorded before the run that follows, and committed after it.
            other.execute(
                f"INSERT INTO usage_usageevent ({copied})"  # noqa: S608 - our own columns
                f" SELECT {changed} FROM usage_usageevent"
            )
            run(*days_due(now=NOW + timedelta(minutes=5)), now=NOW + timedelta(minutes=5))
            assert by_day(metered_org)[date(2026, 3, 17)] == (1, 1)

        run(*days_due(now=NOW + timedelta(minutes=10)), now=NOW + timedelta(minutes=10))

    assert by_day(metered_org)[date(2026, 3, 17)] == (11, 2)


def test_two_runs_at_once_are_as_good_as_one(metered_org: Org) -> None:
    use(metered_org, "a", 3)
    failed: list[BaseException] = []

    def roll() -> None:
        try:
            run()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=roll) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failed
    assert by_day(metered_org) == {TODAY: (3, 1)}


def test_a_day_that_another_run_is_at_is_left_to_it(metered_org: Org) -> None:
    with superuser(str(connection.settings_dict["NAME"])) as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(7301, %s)", [TODAY.toordinal()])

        [rolled] = roll_days([TODAY], now=NOW)

    assert rolled.skipped
    assert not DailyTotal.objects.exists()


def test_the_days_agree_with_the_ledger_whatever_happened(metered_org: Org) -> None:
    chance = random.Random(7)  # noqa: S311 - a test's dice
    other = make_org(now=NOW - timedelta(days=19), included=1_000_000)
    now = NOW
    for step in range(60):
        now += timedelta(minutes=chance.randint(0, 90))
        org = chance.choice([metered_org, other])
        at = now - timedelta(hours=chance.randint(0, 18 * 24))
        use(org, f"r{step}", chance.randint(1, 50), at=at, now=now)
        if chance.random() < 0.3:
            void(org, f"r{step}", now=now)
        if chance.random() < 0.3:
            run(*days_due(now=now), now=now)

    run(*days_due(now=now), now=now)

    for org in (metered_org, other):
        points = series(
            org_id=org.id,
            metric="api_call",
            start=datetime(2026, 3, 1, tzinfo=UTC),
            end=datetime(2026, 4, 1, tzinfo=UTC),
            by="day",
        )
        shown = {day: used for day, (used, _) in by_day(org).items()}
        assert shown == {point.at.date(): point.used for point in points if point.used}
    totals = DailyTotal.objects.aggregate(n=Sum("used"))["n"]
    assert totals == DailyUsage.objects.aggregate(n=Sum("used"))["n"] > 0


def test_the_beat_computes_today_and_each_night_all_of_the_last_month(org: Org) -> None:
    org.use(5)

    roll_days_up()
    assert by_day(org) == {clock.now().date(): (5, 1)}
    assert len(recent_days(now=clock.now())) == 36

    roll_recent_days_up()
    assert DailyTotal.objects.filter(metric="api_call").count() == 36


def test_the_command_computes_the_days_it_is_given(metered_org: Org) -> None:
    use(metered_org, "a", 3)
    out = StringIO()

    call_command("rollup_days", "--from", "2026-03-19", "--to", "2026-03-21", stdout=out)

    assert out.getvalue() == "3 days, 1 events: 1 rows were not so, 0 days left to another run\n"
    assert by_day(metered_org) == {TODAY: (3, 1)}


@pytest.mark.parametrize(
    "options", [["--from", "yesterday"], ["--to", "2026-03-01"], ["--from", "2999-01-01"]]
)
def test_the_command_refuses_days_that_make_no_sense(db: None, options: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("rollup_days", *options)
