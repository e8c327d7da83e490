"""Where the bars of a chart of days stand. Pure.

The drawing is as wide as it has days and a hundred high, and is stretched to
the page; words stand beside it, so that they are not stretched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from billing.text import short

_HEIGHT = 100
_GAP = 0.22
#: A day with any use is seen to have some.
_LEAST = 1.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One day. `left`, `width`, `top`, `height` are in units of the drawing."""

    date: date
    used: int
    left: float
    width: float
    top: float
    height: float
    today: bool
    #: Written under the bar; not every day has room for it, the last ones have none.
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of days. `ticks` are written from the top down."""

    bars: list[Bar]
    width: int
    height: int
    ticks: list[str]
    #: Where the line stands at which the quota would last the period exactly.
    even: float | None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(bar.used for bar in self.bars)

    @property
    def past(self) -> list[Bar]:
        """The days that have begun, newest first."""
        ended = next((n for n, bar in enumerate(self.bars) if bar.today), len(self.bars) - 1)
        return self.bars[ended::-1]


def chart_of(
    used: Mapping[date, int], *, first: date, last: date, today: date, a_day: float | None
) -> Chart:
    """Place the days `first` to `last`. `a_day` units are what the quota allows on average."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    most = max((used.get(one, 0) for one in days), default=0)
    top = nice_top(most)
    bars = []
    for n, one in enumerate(days):
        amount = used.get(one, 0)
        height = max(_LEAST, amount / top * _HEIGHT) if amount else 0.0
        bars.append(
            Bar(
                date=one,
                used=amount,
                left=round(n + _GAP / 2, 3),
                width=round(1 - _GAP, 3),
                top=round(_HEIGHT - height, 2),
                height=round(height, 2),
                today=one == today,
                label=str(one.day) if n % 7 == 0 and n < len(days) - 2 else "",
            )
        )
    even = None
    if a_day is not None and 0 < a_day <= top:
        even = round(_HEIGHT - a_day / top * _HEIGHT, 2)
    return Chart(bars, len(days), _HEIGHT, [short(top), short(top / 2), "0"], even)


def nice_top(most: int) -> int:
    """Return the round number at or above `most` that an axis ends with; halves are whole."""
    power = 1
    while True:
        for step in (2, 4, 6, 10):
            if step * power >= most:
                return step * power
        power *= 10
