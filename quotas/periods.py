"""Quota periods: half-open, in UTC, tiling time without gap or overlap.

Pure functions: a period follows from a rule, an anchor and an instant, so
nothing has to have run for it to exist.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from dateutil.relativedelta import relativedelta

from quotas.models import PeriodRule


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)` in UTC, and the key by which people call it."""

    key: str
    start: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end

    @property
    def seconds(self) -> int:
        """Length in whole seconds."""
        return int((self.end - self.start).total_seconds())


def period_at(rule: str, anchor_at: datetime, at: datetime) -> Period:
    """Return the period that contains `at`.

    `calendar_month`: key `2026-11`. Billing rules step from the anchor, always
    `anchor + n`, never from the last step, as Stripe does: the 31st clamps to a
    shorter month's end and comes back. Their key is the start's date.
    """
    at = at.astimezone(UTC)
    if rule == PeriodRule.CALENDAR_MONTH:
        start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Period(f"{start:%Y-%m}", start, start + relativedelta(months=1))
    months = 12 if rule == PeriodRule.BILLING_YEAR else 1
    anchor = anchor_at.astimezone(UTC)
    n = ((at.year - anchor.year) * 12 + at.month - anchor.month) // months
    while anchor + relativedelta(months=n * months) > at:
        n -= 1
    while anchor + relativedelta(months=(n + 1) * months) <= at:
        n += 1
    start = anchor + relativedelta(months=n * months)
    return Period(f"{start:%Y-%m-%d}", start, anchor + relativedelta(months=(n + 1) * months))
