"""A statement of an organisation with very much use: answered, sealed, and exactly the ledger's."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing.statements.services import seal_closed, statement, verify
from config.contract import clock
from quotas.models import UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, data, make_org
from tests.support.database import rewrite, superuser
from tests.support.length import Length
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.models import DailyUsage, UsageEvent, UsageVoid
from usage.queries import series
from usage.rollup import days_between, roll_days
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 9, tzinfo=UTC)
DAY = timedelta(days=1)
#: As the application would have counted them: one unit each, spread over the days before NOW.
_EVENTS = """
INSERT INTO usage_usageevent (
    org_id, request_id, metric, value, occurred_at, counted_at, recorded_at,
    period_start, period_key, used_after, remaining_after, counter_version)
SELECT %s, 'r' || n, 'api_call', 1, t, t, t, %s, '2026-03', n, 1000000000 - n, n + 1
  FROM generate_series(1, %s) AS n,
       LATERAL (SELECT %s::timestamptz + interval '19 days' * n / (%s + 1)) AS s (t)
"""


@pytest.fixture
def metered_org(transactional_db: None) -> Org:
    return make_org(now=START, included=1_000_000_000)


def use(org: Org, request_id: str, value: int, *, at: datetime, now: datetime) -> None:
    event = NewUsageEvent("api_call", value, at, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    assert outcome.status == "accepted", outcome


def void(org: Org, request_id: str, *, now: datetime) -> None:
    void_event(org_id=org.id, request_id=request_id, reason="x", voided_by="test", now=now)


def roll(now: datetime) -> None:
    list(roll_days(days_between(START.date(), now.date()), now=now))


def days_in(shown: dict[str, Any]) -> dict[str, int]:
    return {day["date"]: day["used"] for day in shown["metrics"]["api_call"]["days"]}


def days_of_ledger(org: Org, key: str) -> dict[str, int]:
    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key=key)
    events = UsageEvent.objects.filter(
        org_id=org.id,
        metric="api_call",
        counted_at__gte=counter.period_start,
        counted_at__lt=counter.period_end,
    ).exclude(request_id__in=UsageVoid.objects.values("request_id"))
    used: Counter[str] = Counter()
    for at, value in events.order_by("counted_at").values_list("counted_at", "value"):
        used[f"{at:%Y-%m-%d}"] += value
    return dict(used)


@contextmanager
def ledger_unreadable() -> Iterator[None]:
    """Whoever reads an event meanwhile waits for a lock, and is refused."""
    with superuser(str(connection.settings_dict["NAME"])) as other, other.transaction():
        other.execute("LOCK TABLE usage_usageevent IN ACCESS EXCLUSIVE MODE")
        yield


def reads_of_ledger(org: Org, key: str, *, now: datetime) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        statement(org_id=org.id, period_key=key, now=now)
    return [one["sql"] for one in captured if "sum(value)" in one["sql"]]


def test_a_statement_whose_days_are_kept_reads_no_event(metered_org: Org) -> None:
    for ago in range(10):
        use(metered_org, f"r{ago}", 5 + ago, at=NOW - ago * DAY, now=NOW)
    use(metered_org, "again", 2, at=NOW - 4 * DAY, now=NOW)
    void(metered_org, "r4", now=NOW)
    roll(NOW)
    expected = days_of_ledger(metered_org, "2026-03")

    with ledger_unreadable():
        shown = statement(org_id=metered_org.id, period_key="2026-03", now=NOW)

    assert days_in(shown) == expected
    assert len(expected) == 10


def test_a_series_by_day_of_whole_periods_whose_days_are_kept_reads_no_event(
    metered_org: Org,
) -> None:
    for ago in range(10):
        use(metered_org, f"r{ago}", 5 + ago, at=NOW - ago * DAY, now=NOW)
    roll(NOW)

    with ledger_unreadable():
        points = series(
            org_id=metered_org.id,
            metric="api_call",
            start=START,
            end=NOW + timedelta(seconds=1),
            by="day",
        )

    shown = {f"{point.at:%F}": point.used for point in points if point.used}
    assert shown == days_of_ledger(metered_org, "2026-03")


def test_a_closed_period_whose_days_are_kept_is_sealed_without_reading_an_event(
    metered_org: Org,
) -> None:
    for ago in range(10):
        use(metered_org, f"r{ago}", 5, at=NOW - ago * DAY, now=NOW)
    roll(NOW)
    later = NOW + 40 * DAY

    with ledger_unreadable():
        shown = statement(org_id=metered_org.id, period_key="2026-03", now=later)

    assert shown["status"] == "closed"
    assert shown["digest"]
    assert days_in(shown) == days_of_ledger(metered_org, "2026-03")
    assert list(verify(org_id=metered_org.id)) == []


def test_what_came_since_the_days_were_computed_is_read_newest_days_first(
    metered_org: Org,
) -> None:
    for ago in range(18):
        use(metered_org, f"r{ago}", 5, at=NOW - ago * DAY, now=NOW)
    roll(NOW)
    use(metered_org, "fresh", 7, at=NOW + timedelta(minutes=1), now=NOW + timedelta(minutes=1))

    [read] = reads_of_ledger(metered_org, "2026-03", now=NOW + timedelta(minutes=1))

    assert "2026-03-20" in read
    assert "2026-03-21" in read


def test_a_day_that_was_voided_whole_makes_no_day_be_read(metered_org: Org) -> None:
    for ago in range(10):
        use(metered_org, f"r{ago}", 5, at=NOW - ago * DAY, now=NOW)
    void(metered_org, "r3", now=NOW)
    roll(NOW)

    assert reads_of_ledger(metered_org, "2026-03", now=NOW) == []
    shown = statement(org_id=metered_org.id, period_key="2026-03", now=NOW)
    assert days_in(shown) == days_of_ledger(metered_org, "2026-03")


def test_a_fresh_void_of_an_old_event_makes_no_day_be_read_again(metered_org: Org) -> None:
    for ago in range(18):
        use(metered_org, f"r{ago}", 5, at=NOW - ago * DAY, now=NOW)
    roll(NOW)
    void(metered_org, "r12", now=NOW)

    assert reads_of_ledger(metered_org, "2026-03", now=NOW) == []
    shown = statement(org_id=metered_org.id, period_key="2026-03", now=NOW)
    assert days_in(shown) == days_of_ledger(metered_org, "2026-03")
    assert shown["metrics"]["api_call"]["voided"] == 5


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE usage_dailyusage SET used = used + 1000",
        "UPDATE usage_dailyusage SET used = used - 1",
        "UPDATE usage_dailyusage SET voided = voided + 1",
        "DELETE FROM usage_dailyusage WHERE day > '2026-03-12'",
        "DELETE FROM usage_dailyusage",
    ],
)
def test_days_that_were_kept_wrongly_are_not_what_a_statement_says(
    metered_org: Org, edit: str
) -> None:
    for ago in range(15):
        use(metered_org, f"r{ago}", 5, at=NOW - ago * DAY, now=NOW)
    void(metered_org, "r2", now=NOW)
    roll(NOW)
    rewrite(edit)

    shown = statement(org_id=metered_org.id, period_key="2026-03", now=NOW)

    assert days_in(shown) == days_of_ledger(metered_org, "2026-03")


def test_a_sealed_statement_says_what_was_sealed_whatever_becomes_of_its_rows(
    metered_org: Org,
) -> None:
    use(metered_org, "r1", 5, at=NOW, now=NOW)
    later = NOW + 40 * DAY
    sealed = statement(org_id=metered_org.id, period_key="2026-03", now=later)
    rewrite("UPDATE quotas_usagecounter SET counted = 4")
    DailyUsage.objects.all().delete()

    assert statement(org_id=metered_org.id, period_key="2026-03", now=later) == sealed
    assert list(sealed["metrics"]["api_call"])[:3] == ["included", "adjusted", "counted"]
    assert [broken.what for broken in verify(org_id=metered_org.id)] == ["rows"]


def test_use_that_was_voided_before_a_restart_is_on_no_day(transactional_db: None) -> None:
    org = make_org(now=START, anchor_at=START, period_rule="billing_month", included=1_000)
    use(org, "before", 5, at=NOW - DAY, now=NOW - DAY)
    void(org, "before", now=NOW - DAY)
    use(org, "between", 7, at=NOW, now=NOW)
    void(org, "between", now=NOW)
    later = NOW + timedelta(hours=20)
    with transaction.atomic():
        grant(
            org_id=org.id,
            because="test",
            now=later,
            allowances={"api_call": Allowance(1_000, "block")},
            plan_code="pro",
            status="active",
            period_rule="billing_month",
            anchor_at=NOW - timedelta(hours=1),
        )
    use(org, "after", 11, at=later, now=later)
    roll(later)

    shown = {
        key: days_in(statement(org_id=org.id, period_key=key, now=later))
        for key in ("2026-03-01", "2026-03-20")
    }

    assert shown == {"2026-03-01": {}, "2026-03-20": {"2026-03-21": 11}}


@pytest.mark.parametrize("rule", ["calendar_month", "billing_month"])
@pytest.mark.parametrize("seed", range(2))
def test_statements_say_what_the_ledger_says_whatever_happened(
    transactional_db: None, rule: str, seed: int
) -> None:
    chance = random.Random(seed)
    began = START + timedelta(hours=chance.randint(0, 30))
    org = make_org(now=began, anchor_at=began, period_rule=rule, included=1_000_000)
    now, used = began, []
    for step in range(50):
        now += timedelta(minutes=chance.randint(0, 3 * 24 * 60))
        current = UsageCounter.objects.filter(
            org_id=org.id, metric="api_call", period_start__lte=now, period_end__gt=now
        ).first()
        opened = current.period_start if current else now
        at = max(opened, now - timedelta(minutes=chance.choice([0, 1, 100, 3_000, 20_000])))
        use(org, f"r{step}", chance.randint(1, 50), at=at, now=now)
        used.append((f"r{step}", now))
        if chance.random() < 0.3:
            request_id, recorded_at = chance.choice(used[-4:])
            if recorded_at >= opened:
                void(org, request_id, now=now)
        if chance.random() < 0.3:
            roll(now)
        if chance.random() < 0.2:
            for key in UsageCounter.objects.values_list("period_key", flat=True).distinct():
                shown = statement(org_id=org.id, period_key=key, now=now)
                assert days_in(shown) == days_of_ledger(org, key)
            start = began + timedelta(hours=chance.randint(0, 900))
            daily, hourly = (
                series(org_id=org.id, metric="api_call", start=start, end=start + 30 * DAY, by=by)
                for by in ("day", "hour")
            )
            assert sum(point.used for point in daily) == sum(point.used for point in hourly)
            of_hours: Counter[str] = Counter()
            for point in hourly:
                of_hours[f"{point.at:%F}"] += point.used
            assert {f"{point.at:%F}": point.used for point in daily} == dict(of_hours)

    sealed = seal_closed(org_id=org.id, now=now + 70 * DAY)

    assert len(sealed) >= 2
    assert list(verify(org_id=org.id)) == []


@pytest.mark.torture
@pytest.mark.parametrize("kept", [False, True])
def test_very_much_use_is_answered_and_sealed(metered_org: Org, length: Length, kept: bool) -> None:
    """At full length 2.5 million events, in the time that a request has."""
    events = length.of(20_000, 2_500_000)
    use(metered_org, "first", 1, at=START, now=START)
    with superuser(str(connection.settings_dict["NAME"])) as admin:
        admin.execute(_EVENTS, [metered_org.id, START, events, START, events])
        admin.execute("ANALYZE usage_usageevent")
    UsageCounter.objects.filter(org_id=metered_org.id, metric="api_call").update(
        counted=events + 1, version=events + 2, updated_at=START + 19 * DAY
    )
    if kept:
        roll(NOW)
    clock.set_offset((NOW - clock.real_now()).total_seconds())
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '2s'")

    took = {}
    started = perf_counter()
    running = data(metered_org.get("/api/statements?periodKey=2026-03"))
    took["running"] = perf_counter() - started
    clock.set_offset((NOW + 40 * DAY - clock.real_now()).total_seconds())
    for which in ("sealing", "sealed"):
        started = perf_counter()
        closed = data(metered_org.get("/api/statements?periodKey=2026-03"))
        took[which] = perf_counter() - started

    print(
        f"{events} events, days {'kept' if kept else 'not kept'}: "
        + ", ".join(f"{which} {seconds:.2f} s" for which, seconds in took.items())
    )
    assert sum(days_in(running).values()) == events + 1
    assert (closed["status"], days_in(closed)) == ("closed", days_in(running))
    assert list(verify(org_id=metered_org.id)) == []
