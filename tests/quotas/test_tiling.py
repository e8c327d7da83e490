"""Whatever the anchor, the rule and what restarted: periods tile, and what was counted stays."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.sandbox.periods import step
from quotas.models import PeriodRule
from quotas.periods import TICK, Cut, Period, forget_before, period_at, period_in, recut

MONTHS = 48
DAYS = range(28, 32)
#: Zones whose clocks go forward and back; one of them by half an hour.
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")]
BILLING = [PeriodRule.BILLING_MONTH, PeriodRule.BILLING_YEAR]
#: Months before and of a leap day, and of clocks that change, in a leap year and others.
ANCHORS = [
    datetime(year, month, day, hour, 30, 1, tzinfo=UTC)
    for year in (2023, 2024)
    for month, last in ((1, 31), (2, 28 + (year == 2024)), (3, 31), (10, 31), (11, 30))
    for day in range(28, last + 1)
    for hour in (0, 2, 23)
]


def assert_tiled(found: list[Period]) -> None:
    assert all(one.start < one.end for one in found)
    assert all(a.end == b.start for a, b in pairwise(found))
    assert len({one.key for one in found}) == len(found)


def tiles(rule: str, anchor: datetime) -> list[Period]:
    """Return the periods of the months that follow the anchor, each found by its own middle."""
    end = anchor + timedelta(days=31 * MONTHS)
    found = [period_at(rule, anchor, anchor)]
    while found[-1].end < end:
        found.append(period_at(rule, anchor, found[-1].end + (found[0].end - found[0].start) / 2))
    return found


@pytest.mark.parametrize("rule", PeriodRule.values)
@pytest.mark.parametrize("day", DAYS)
def test_periods_follow_each_other_without_gap_or_overlap(rule: str, day: int) -> None:
    for anchor in (one for one in ANCHORS if one.day == day):
        found = tiles(rule, anchor)

        assert_tiled(found)
        for one in found:
            for at in (one.start, one.start + (one.end - one.start) / 3, one.end - TICK):
                assert {period_at(rule, anchor, at.astimezone(zone)) for zone in ZONES} == {one}


@pytest.mark.parametrize("rule", BILLING)
@pytest.mark.parametrize("day", DAYS)
def test_billing_periods_begin_where_stripe_bills(rule: str, day: int) -> None:
    interval = "year" if rule == PeriodRule.BILLING_YEAR else "month"
    for anchor in (one for one in ANCHORS if one.day == day):
        billed = [
            datetime.fromtimestamp(step(int(anchor.timestamp()), interval, n), UTC)
            for n in range(MONTHS if interval == "month" else 4)
        ]

        assert [period_at(rule, anchor, at).start for at in billed] == billed
        assert [period_at(rule, anchor, at - TICK).end for at in billed] == billed


# --- What restarts ------------------------------------------------------------------

BEGAN = datetime(2024, 1, 31, 12, tzinfo=UTC)
_seconds = st.integers(0, 90 * 86_400)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[datetime, Cut, datetime | None]]:
    """Return changes of rule and anchor in order: when each was known, what, and used until."""
    now, changes = BEGAN, []
    for _ in range(draw(st.integers(1, 6))):
        now += timedelta(seconds=draw(st.one_of(_seconds, st.integers(1, 7_200))))
        behind = draw(st.one_of(st.integers(0, 10), st.integers(-40 * 86_400, 40 * 86_400)))
        used = draw(st.one_of(st.none(), st.integers(0, 3_600)))
        to = Cut(draw(st.sampled_from(PeriodRule.values)), now - timedelta(seconds=behind))
        changes.append((now, to, None if used is None else now - timedelta(seconds=used)))
    return changes


def walk(cuts: list[Cut], start: datetime, end: datetime) -> list[Period]:
    found = [period_in(cuts, start)]
    while found[-1].end < end:
        found.append(period_in(cuts, found[-1].end))
    return found


@given(st.sampled_from(PeriodRule.values), histories())
def test_periods_tile_whatever_restarts_and_what_is_over_stays(
    rule: str, changes: list[tuple[datetime, Cut, datetime | None]]
) -> None:
    cuts = [Cut(rule, BEGAN)]
    for now, to, told_used in changes:
        before = cuts
        running = period_in(before, now)
        used = told_used if told_used is not None and told_used in running else None

        cuts = recut(before, to, now=now, used_until=used)

        now_running = period_in(cuts, running.start)
        assert (now_running.key, now_running.start) == (running.key, running.start)
        assert used is None or used in now_running
        begun = walk(before, BEGAN - timedelta(days=40), running.start)
        assert walk(cuts, BEGAN - timedelta(days=40), running.start)[:-1] == begun[:-1]
    found = walk(cuts, BEGAN - timedelta(days=40), changes[-1][0] + timedelta(days=800))
    assert_tiled(found)
    assert all(period_in(cuts, one.end - TICK) == one for one in found)


@given(st.sampled_from(PeriodRule.values), histories())
def test_forgetting_old_cuts_changes_no_period_that_is_not_closed(
    rule: str, changes: list[tuple[datetime, Cut, datetime | None]]
) -> None:
    cuts, forgetful = [Cut(rule, BEGAN)], [Cut(rule, BEGAN)]
    for now, to, _ in changes:
        closed = now - timedelta(days=3)
        cuts = recut(cuts, to, now=now, used_until=None)
        forgetful = forget_before(recut(forgetful, to, now=now, used_until=None), closed)

        open_ones = [one for one in walk(cuts, BEGAN, now) if one.end > closed]
        assert [period_in(forgetful, one.start) for one in open_ones] == open_ones


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MONTHLY = [Cut(PeriodRule.BILLING_MONTH, at("2026-11-06T10:00"))]
NOW = at("2026-11-22T15:00")


def pieces(cuts: list[Cut], *instants: str) -> list[tuple[str, datetime, datetime]]:
    return [(p.key, p.start, p.end) for p in (period_in(cuts, at(text)) for text in instants)]


def test_a_restart_ends_the_running_period_where_the_anchor_is() -> None:
    anchor = at("2026-11-22T14:59:58")

    cuts = recut(MONTHLY, Cut(PeriodRule.BILLING_MONTH, anchor), now=NOW, used_until=None)

    assert pieces(cuts, "2026-11-10", "2026-11-30") == [
        ("2026-11-06", at("2026-11-06T10:00"), anchor),
        ("2026-11-22", anchor, at("2026-12-22T14:59:58")),
    ]


def test_use_counted_after_the_anchor_stays_in_the_period_that_counted_it() -> None:
    used = at("2026-11-22T14:59:59.5")
    anchor = at("2026-11-22T14:59:58")

    cuts = recut(MONTHLY, Cut(PeriodRule.BILLING_MONTH, anchor), now=NOW, used_until=used)

    assert period_in(cuts, used).end == used + TICK
    assert period_in(cuts, NOW).end == at("2026-12-22T14:59:58")


def test_two_restarts_of_one_day_are_told_apart_by_their_keys() -> None:
    cuts = MONTHLY
    for hour in (11, 12, 13):
        anchor = at(f"2026-11-22T{hour}:00")
        cuts = recut(cuts, Cut(PeriodRule.BILLING_MONTH, anchor), now=anchor, used_until=None)

    keys = [period_in(cuts, at(f"2026-11-22T{hour}:30")).key for hour in (10, 11, 12, 13)]
    assert keys == ["2026-11-06", "2026-11-22", "2026-11-22.2", "2026-11-22.3"]


def test_an_anchor_that_lies_ahead_ends_the_running_period_when_it_comes() -> None:
    sooner = recut(
        MONTHLY, Cut(PeriodRule.BILLING_MONTH, at("2026-12-01")), now=NOW, used_until=NOW
    )
    later = recut(MONTHLY, Cut(PeriodRule.BILLING_MONTH, at("2026-12-20")), now=NOW, used_until=NOW)

    assert period_in(sooner, NOW).end == at("2026-12-01")
    assert pieces(later, "2026-12-01", "2026-12-10") == [
        ("2026-11-06", at("2026-11-06T10:00"), at("2026-12-06T10:00")),
        ("2026-12-06", at("2026-12-06T10:00"), at("2026-12-20")),
    ]


def test_another_rule_alone_starts_with_the_next_period() -> None:
    anchor = MONTHLY[0].anchor_at
    calendar = [Cut(PeriodRule.CALENDAR_MONTH, anchor)]

    to_billing = recut(calendar, Cut(PeriodRule.BILLING_MONTH, anchor), now=NOW, used_until=None)
    back = recut(MONTHLY, Cut(PeriodRule.CALENDAR_MONTH, NOW), now=NOW, used_until=None)

    assert pieces(to_billing, "2026-11-22", "2026-12-03") == [
        ("2026-11", at("2026-11-01"), at("2026-12-01")),
        ("2026-12-01", at("2026-12-01"), at("2026-12-06T10:00")),
    ]
    assert pieces(back, "2026-11-22", "2026-12-10") == [
        ("2026-11-06", at("2026-11-06T10:00"), at("2026-12-06T10:00")),
        ("2026-12-06", at("2026-12-06T10:00"), at("2027-01-01")),
    ]


def test_calendar_months_do_not_restart() -> None:
    calendar = [Cut(PeriodRule.CALENDAR_MONTH, at("2026-11-06"))]

    cuts = recut(calendar, Cut(PeriodRule.CALENDAR_MONTH, NOW), now=NOW, used_until=None)

    assert period_in(cuts, NOW) == period_at(PeriodRule.CALENDAR_MONTH, NOW, NOW)
    assert period_in(cuts, at("2026-12-01")).key == "2026-12"


def test_before_what_is_known_there_is_no_period() -> None:
    with pytest.raises(LookupError):
        period_in([Cut(PeriodRule.BILLING_MONTH, NOW, since=NOW)], NOW - TICK)
