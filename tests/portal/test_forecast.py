"""How long a quota lasts at this pace."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.portal.forecast import Forecast, forecast, sentence

RESET = datetime(2026, 12, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WEEK_AGO = NOW - timedelta(days=7)


def foresee(
    *, included: int = 10_000, used: int, recent: int, since: datetime = WEEK_AGO
) -> Forecast:
    return forecast(
        included=included, used=used, recent=recent, since=since, now=NOW, resets_at=RESET
    )


def said(found: Forecast, *, charged: bool = False) -> str:
    return sentence(found, resets_at=RESET, charged=charged).replace("\N{NO-BREAK SPACE}", " ")


def test_a_quota_that_runs_out_names_the_day() -> None:
    # 700 a day, 2,800 left: four days.
    found = foresee(used=7200, recent=4900)

    assert (found.kind, found.pace) == ("runs_out", 700)
    assert found.at == NOW + timedelta(days=4)
    assert said(found) == (
        "At this pace it runs out on Thursday 26 November, before the reset on 1 December 2026:"
        " requests are denied from then on."
    )
    assert "more is charged from then on" in said(found, charged=True)


def test_a_quota_that_lasts_says_so_with_what_will_be_used() -> None:
    found = foresee(used=3000, recent=700)

    assert found.kind == "lasts"
    assert found.by_reset == 3850
    assert said(found) == (
        "At this pace it does not run out before the reset on 1 December 2026:"
        " about 3,850 used by then."
    )


def test_meeting_the_limit_at_the_reset_is_lasting() -> None:
    # 8.5 days are left, 100 a day, and 850 units.
    assert foresee(used=9150, recent=700).kind == "lasts"
    assert foresee(used=9151, recent=700).kind == "runs_out"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (foresee(used=10_000, recent=10), "requests are denied until the reset on 1 December"),
        (foresee(used=12_000, recent=10), "Used up"),
        (foresee(used=0, recent=0), "No use in the last 7 days."),
        (foresee(included=0, used=0, recent=0), "Your plan does not include this."),
        (foresee(used=5, recent=5, since=NOW - timedelta(hours=23)), "Too early to tell"),
    ],
)
def test_where_there_is_no_pace_nothing_is_foretold(found: Forecast, words: str) -> None:
    assert words in said(found)
    assert "At this pace" not in said(found)


def test_past_the_limit_use_that_is_charged_goes_on() -> None:
    assert "Use goes on" in said(foresee(used=12_000, recent=10), charged=True)


@given(
    included=st.integers(0, 2**53),
    used=st.integers(0, 2**53),
    recent=st.integers(0, 2**53),
    hours=st.integers(0, 24 * 7),
)
def test_what_runs_out_does_so_between_now_and_the_reset(
    included: int, used: int, recent: int, hours: int
) -> None:
    found = foresee(included=included, used=used, recent=recent, since=NOW - timedelta(hours=hours))

    assert (found.at is not None) is (found.kind == "runs_out")
    if found.at is not None:
        assert NOW <= found.at < RESET
    if found.kind == "lasts":
        assert used <= found.by_reset <= included
    assert said(found)
