"""Bars by day, drawn by the Chart.js of the admin's theme; a table holds the same numbers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from usage.models import DailyTotal, DailyUsage

#: The longest range that is drawn, in days.
MOST_DAYS = 366
_GRID = {"display": False}
_TICKS = {"maxTicksLimit": 5, "precision": 0}
#: Names of colours of the theme, in the order in which charts take them.
COLOURS = ("--color-primary-600", "--color-blue-600", "--color-green-600", "--color-orange-600")
#: What was let through, and what was not: told apart whatever colours one sees.
ALLOWED_AND_DENIED = ("--color-blue-600", "--color-orange-600")


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of a chart: a value for each of its columns, stacked."""

    day: date
    values: tuple[int, ...]

    @property
    def height(self) -> int:
        """All of them together."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars by day under a title. `data` and `options` are Chart.js's own JSON."""

    title: str
    columns: tuple[str, ...]
    bars: list[Bar]
    data: str
    options: str

    @property
    def total(self) -> int:
        """The sum of the bars."""
        return sum(bar.height for bar in self.bars)

    @property
    def highest(self) -> Bar:
        """The day with the most."""
        return max(self.bars, key=lambda bar: bar.height)


def stacked(
    title: str,
    columns: Mapping[str, Mapping[date, int]],
    *,
    first: date,
    last: date,
    colours: Sequence[str] = COLOURS,
) -> Chart:
    """Return the chart of `columns` (values by day) from `first` to `last`; no value is zero."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    bars = [Bar(day, tuple(values.get(day, 0) for values in columns.values())) for day in days]
    datasets = [
        {
            "label": name,
            "data": [bar.values[nth] for bar in bars],
            "backgroundColor": f"var({colours[nth % len(colours)]})",
            "borderRadius": 2,
            "maxBarThickness": 24,
        }
        for nth, name in enumerate(columns)
    ]
    labels = [f"{day:%b} {day.day}" for day in days]
    data = json.dumps({"labels": labels, "datasets": datasets})
    return Chart(title, tuple(columns), bars, data, _options(legend=len(columns) > 1))


def by_day(
    title: str, values: Mapping[date, int], *, first: date, last: date, nth: int = 0
) -> Chart:
    """Return the chart of one value a day, in the n-th colour."""
    colour = COLOURS[nth % len(COLOURS)]
    return stacked(title, {title: values}, first=first, last=last, colours=(colour,))


def of_metrics(
    rows: Sequence[DailyTotal] | Sequence[DailyUsage], *, first: date, last: date
) -> list[Chart]:
    """Return a chart for each metric in `rows`: their scales have nothing in common."""
    used: dict[str, dict[date, int]] = {}
    for row in rows:
        used.setdefault(row.metric, {})[row.day] = row.used
    return [
        by_day(metric, used[metric], first=first, last=last, nth=nth)
        for nth, metric in enumerate(sorted(used))
    ]


def _options(*, legend: bool) -> str:
    x = {"stacked": True, "grid": _GRID, "ticks": {"maxRotation": 0, "autoSkipPadding": 16}}
    y = {"stacked": True, "beginAtZero": True, "grid": {}, "ticks": _TICKS}
    return json.dumps(
        {
            "animation": False,
            "responsive": True,
            "maintainAspectRatio": False,
            "plugins": {"legend": {"display": legend, "align": "end"}},
            "scales": {"x": x, "y": y},
        }
    )
