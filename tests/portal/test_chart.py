"""Where the bars of a chart stand."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from billing.portal.chart import chart_of, nice_top

FIRST, LAST, TODAY = date(2026, 11, 1), date(2026, 11, 30), date(2026, 11, 22)


def test_a_month_has_a_place_for_each_day_and_a_bar_for_those_with_use() -> None:
    used = {FIRST: 100, TODAY: 400}

    chart = chart_of(used, first=FIRST, last=LAST, today=TODAY, a_day=None)

    assert chart.width == len(chart.bars) == 30
    assert [bar.date.day for bar in chart.bars if bar.height] == [1, 22]
    assert [bar.date for bar in chart.bars if bar.today] == [TODAY]
    assert chart.bars[0].height == 25
    assert chart.bars[21].height == 100
    assert chart.ticks == ["400", "200", "0"]
    assert [bar.label for bar in chart.bars if bar.label] == ["1", "8", "15", "22"]


def test_the_table_beside_it_has_the_days_that_have_begun_newest_first() -> None:
    chart = chart_of({}, first=FIRST, last=LAST, today=TODAY, a_day=None)

    assert [bar.date.day for bar in chart.past] == list(range(22, 0, -1))


def test_the_line_of_an_even_pace_stands_where_it_belongs_or_not_at_all() -> None:
    def even(a_day: float | None) -> float | None:
        return chart_of({FIRST: 400}, first=FIRST, last=LAST, today=TODAY, a_day=a_day).even

    assert even(100) == 75
    assert even(400) == 0
    assert even(401) is None
    assert even(0) is None
    assert even(None) is None


def test_a_day_with_a_little_use_is_seen_to_have_some() -> None:
    chart = chart_of({FIRST: 1, TODAY: 10**9}, first=FIRST, last=LAST, today=TODAY, a_day=None)

    assert 1 < chart.bars[0].height < 3


@given(st.lists(st.integers(0, 2**53), min_size=1, max_size=40))
def test_no_bar_leaves_the_drawing(each_day: list[int]) -> None:
    used = {FIRST + timedelta(days=n): one for n, one in enumerate(each_day)}

    chart = chart_of(used, first=FIRST, last=max(used), today=max(used), a_day=1)

    for bar in chart.bars:
        assert 0 <= bar.top <= 100
        assert 0 <= bar.height <= 100
        assert bar.top + bar.height <= 100.01
        assert 0 <= bar.left < bar.left + bar.width <= chart.width


@given(st.integers(0, 2**60))
def test_an_axis_ends_with_a_round_number_that_halves(most: int) -> None:
    top = nice_top(most)

    assert most <= top <= max(2, most * 2)
    assert top % 2 == 0
