"""Billing periods: anchor + n steps, never chained, so a 31st clamps and returns.

All instants are whole Unix seconds, UTC.
"""

import calendar
from datetime import UTC, datetime, timedelta

from billing.sandbox.shapes import Obj

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


def step(anchor: int, interval: str, count: int) -> int:
    """Return the instant `count` intervals after `anchor` (before it when negative)."""
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in _DAYS:
        return int((start + timedelta(days=_DAYS[interval] * count)).timestamp())
    months = start.year * 12 + start.month - 1 + _MONTHS[interval] * count
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def next_boundary(anchor: int, recurring: Obj, after: int) -> int:
    """Return the first `anchor + n` later than `after` (n may be negative)."""
    interval, every = recurring["interval"], recurring["interval_count"]
    # A low estimate; each pass below then moves one interval.
    seconds = {"day": 86_400, "week": 604_800, "month": 2_678_400, "year": 31_622_400}[interval]
    n = (after - anchor) // (seconds * every) - 1
    while step(anchor, interval, n * every) <= after:
        n += 1
    return step(anchor, interval, n * every)


def in_words(timestamp: int) -> str:
    """Return a date as Stripe writes it into line descriptions."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%d %b %Y")
