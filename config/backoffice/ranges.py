"""The days that a page is asked to show."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.http import QueryDict

from config.backoffice.charts import MOST_DAYS

#: The ranges that are one click away, in days.
CHOICES = (7, 30, 90)
_DEFAULT = 30


@dataclass(frozen=True, slots=True)
class Days:
    """From `first` to `last`, both included (UTC); `note` says what was wrong with the asked."""

    first: date
    last: date
    today: date
    note: str = ""

    @property
    def length(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    @property
    def chosen(self) -> int | None:
        """Which of CHOICES this is, if any."""
        return self.length if self.last == self.today and self.length in CHOICES else None


def asked_days(query: QueryDict, *, now: datetime) -> Days:
    """Read `?days=30`, or `?from=…&to=…`. What makes no sense is the last 30 days, with a note."""
    today = now.date()
    try:
        if "from" in query or "to" in query:
            last = date.fromisoformat(query.get("to") or today.isoformat())
            default = last - timedelta(days=_DEFAULT - 1)
            first = date.fromisoformat(query.get("from") or default.isoformat())
        else:
            last = today
            first = today - timedelta(days=int(query.get("days") or _DEFAULT) - 1)
        days = Days(first, last, today)
    except (ValueError, OverflowError):
        return _default(today, "That is no range of days; these are the last 30.")
    if not 1 <= days.length <= MOST_DAYS:
        return _default(today, f"A range has 1 to {MOST_DAYS} days; these are the last 30.")
    return days


def _default(today: date, note: str) -> Days:
    return Days(today - timedelta(days=_DEFAULT - 1), today, today, note)
