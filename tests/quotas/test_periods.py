"""Periods tile time: every instant lies in exactly one, whatever the rule and the anchor."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.models import PeriodRule
from quotas.periods import period_at

TICK = timedelta(microseconds=1)
instants = st.datetimes(
    datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)  # noqa: DTZ001 - st.just
)  # fmt: skip
rules = st.sampled_from(PeriodRule.values)


@given(rules, instants, instants)
def test_an_instant_lies_in_its_period_and_its_neighbours_touch_it(
    rule: str, anchor: datetime, at: datetime
) -> None:
    period = period_at(rule, anchor, at)

    assert at in period
    assert period.start < period.end
    assert period_at(rule, anchor, period.start) == period
    assert period_at(rule, anchor, period.end - TICK) == period
    assert period_at(rule, anchor, period.end).start == period.end
    assert period_at(rule, anchor, period.start - TICK).end == period.start
    assert period.end not in period


@given(rules, instants, instants)
def test_neighbouring_periods_have_different_keys(
    rule: str, anchor: datetime, at: datetime
) -> None:
    period = period_at(rule, anchor, at)

    assert period_at(rule, anchor, period.end).key != period.key


@given(rules, instants, instants, st.integers(-14 * 60, 14 * 60))
def test_the_offset_an_instant_is_written_in_changes_nothing(
    rule: str, anchor: datetime, at: datetime, minutes: int
) -> None:
    elsewhere = at.astimezone(timezone(timedelta(minutes=minutes)))

    assert period_at(rule, anchor, elsewhere) == period_at(rule, anchor, at)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_calendar_month_is_named_by_its_month() -> None:
    period = period_at(PeriodRule.CALENDAR_MONTH, at("2026-01-15"), at("2026-12-31T23:59:59"))

    assert (period.key, period.start, period.end) == (
        "2026-12",
        at("2026-12-01"),
        at("2027-01-01"),
    )
    assert period.seconds == 31 * 86_400


@pytest.mark.parametrize(
    ("instant", "start", "end"),
    [
        ("2026-01-31T10:00", "2026-01-31T10:00", "2026-02-28T10:00"),
        ("2026-02-28T09:59", "2026-01-31T10:00", "2026-02-28T10:00"),
        ("2026-02-28T10:00", "2026-02-28T10:00", "2026-03-31T10:00"),
        ("2026-04-15", "2026-03-31T10:00", "2026-04-30T10:00"),
        ("2028-03-01", "2028-02-29T10:00", "2028-03-31T10:00"),
        ("2025-11-30T11:00", "2025-11-30T10:00", "2025-12-31T10:00"),
    ],
)
def test_months_from_the_31st_clamp_and_come_back(instant: str, start: str, end: str) -> None:
    period = period_at(PeriodRule.BILLING_MONTH, at("2026-01-31T10:00"), at(instant))

    assert (period.start, period.end) == (at(start), at(end))
    assert period.key == start[:10]


@pytest.mark.parametrize(
    ("instant", "start", "end"),
    [
        ("2024-02-29", "2024-02-29", "2025-02-28"),
        ("2025-02-28", "2025-02-28", "2026-02-28"),
        ("2028-02-29", "2028-02-29", "2029-02-28"),
        ("2028-02-28T23:59:59", "2027-02-28", "2028-02-29"),
    ],
)
def test_years_from_a_leap_day_clamp_and_come_back(instant: str, start: str, end: str) -> None:
    period = period_at(PeriodRule.BILLING_YEAR, at("2024-02-29"), at(instant))

    assert (period.start, period.end) == (at(start), at(end))
