"""Quota periods: half-open, in UTC, tiling time without gap or overlap.

Pure functions: a period follows from how time is cut and an instant, so nothing
has to have run for it to exist.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dateutil.relativedelta import relativedelta

from quotas.models import PeriodRule

#: The database's resolution: no instant lies between two that are this far apart.
TICK = timedelta(microseconds=1)


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


@dataclass(frozen=True, slots=True)
class Cut:
    """How time is cut into periods from `since` on (None: from always), until the next cut.

    The period that `since` falls into ends there, and the first one of this cut
    begins there: periods tile whatever was cut how.
    """

    rule: str
    anchor_at: datetime
    since: datetime | None = None

    def same_grid(self, other: "Cut") -> bool:
        """Tell whether both cut time at the same instants."""
        if self.rule == other.rule == PeriodRule.CALENDAR_MONTH:
            return True
        return (self.rule, self.anchor_at) == (other.rule, other.anchor_at)


def period_at(rule: str, anchor_at: datetime, at: datetime) -> Period:
    """Return the whole period that contains `at`.

    `calendar_month`: key `2026-11`. Billing rules step from the anchor, always
    `anchor + n`, never from the last step, as Stripe does: the 31st clamps to a
    shorter month's end and comes back. Their key is the start's date.
    """
    at = at.astimezone(UTC)
    if rule == PeriodRule.CALENDAR_MONTH:
        start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        years, month = divmod(start.month, 12)
        end = start.replace(year=start.year + years, month=month + 1)
        return Period(f"{start.year:04}-{start.month:02}", start, end)
    months = 12 if rule == PeriodRule.BILLING_YEAR else 1
    anchor = anchor_at.astimezone(UTC)
    n = ((at.year - anchor.year) * 12 + at.month - anchor.month) // months
    while anchor + relativedelta(months=n * months) > at:
        n -= 1
    while anchor + relativedelta(months=(n + 1) * months) <= at:
        n += 1
    start = anchor + relativedelta(months=n * months)
    return Period(f"{start:%Y-%m-%d}", start, anchor + relativedelta(months=(n + 1) * months))


def period_in(cuts: Sequence[Cut], at: datetime) -> Period:
    """Return the period that contains `at`, where time was cut in several ways, oldest first.

    A period that begins at a cut is called by the date of its start, and a further
    one of the same day by that and a number: `2026-11-22.2`. Raises LookupError
    before the first cut.
    """
    period = _piece(cuts, at)
    number = 1
    before = _piece_before(cuts, period) if len(cuts) > 1 else None
    while before is not None and before.key == period.key:
        number += 1
        before = _piece_before(cuts, before)
    return period if number == 1 else replace(period, key=f"{period.key}.{number}")


def predecessor(cuts: Sequence[Cut], period: Period) -> Period | None:
    """Return the period before, where `period` began by cutting that one short."""
    earlier = [cut for cut in cuts if cut.since is None or cut.since < period.start]
    if not earlier or not any(cut.since == period.start for cut in cuts):
        return None
    before = period_in(cuts, period.start - TICK)
    whole = period_at(earlier[-1].rule, earlier[-1].anchor_at, before.start)
    return before if before.end < whole.end else None


def recut(
    cuts: Sequence[Cut],
    to: Cut,
    *,
    now: datetime,
    used_until: datetime | None,
    as_announced: bool = False,
) -> list[Cut]:
    """Return the cuts after it became known, at `now`, that periods follow `to`.

    `used_until` is the last instant known to have been counted in the running
    period. Where Stripe's anchor restarted within it, the period ends at the
    restart, or behind the last use that it holds. An anchor that lies ahead
    (a trial whose end was moved) ends it when it comes. Another rule alone
    starts with the next period.

    What was yet to come is told anew, but for a change `as_announced`, which comes by
    itself: counters may have been given the end that lay ahead, and nobody need have
    looked at them since. The running period ends there at the latest.
    """
    if cuts[-1].same_grid(to):
        return [*cuts[:-1], replace(cuts[-1], anchor_at=to.anchor_at)]
    held = [cut for cut in cuts if cut.since is None or cut.since <= now]
    ahead = [cut.since for cut in cuts[len(held) :] if cut.since is not None]
    latest = ahead[0] if ahead and as_announced else None
    if held[-1].same_grid(to):
        held[-1] = replace(held[-1], anchor_at=to.anchor_at)
        return held if latest is None else [*held, replace(to, since=latest)]
    running = period_in(held, now)
    since = _since(held[-1], to, running, now=now, used_until=used_until)
    since = since if latest is None else min(since, latest)
    if held[-1].since == since:
        # Nothing lies between the two.
        held.pop()
    return [*held, replace(to, since=since)]


def forget_before(cuts: Sequence[Cut], at: datetime) -> list[Cut]:
    """Return the cuts that periods ending after `at`, and their names, still depend on."""
    kept = list(cuts)
    while len(kept) > 1 and kept[1].since is not None:
        period = day = _piece(kept, kept[1].since)
        # The number in a key counts the periods that began on its day.
        while f"{day.start:%Y-%m-%d}" == f"{period.start:%Y-%m-%d}":
            period, day = day, _piece(kept, day.end)
        if period.end > at:
            break
        kept.pop(0)
    return kept


def _since(
    last: Cut, to: Cut, running: Period, *, now: datetime, used_until: datetime | None
) -> datetime:
    if to.rule == PeriodRule.CALENDAR_MONTH:
        return running.end
    if to.anchor_at > now:
        return min(running.end, to.anchor_at)
    began = period_at(to.rule, to.anchor_at, now).start
    if last.anchor_at == to.anchor_at:
        return running.end
    if began <= running.start:
        # The running period began with the restart or after it: only its end moves.
        return running.end if last.rule == PeriodRule.CALENDAR_MONTH else running.start
    # What is counted stays counted where it was.
    return began if used_until is None else max(began, used_until + TICK)


def _piece(cuts: Sequence[Cut], at: datetime) -> Period:
    """Return the period that contains `at`; its key may be that of another of the same day."""
    held = [n for n, cut in enumerate(cuts) if cut.since is None or cut.since <= at]
    if not held:
        raise LookupError("nothing is known of that time")
    cut, following = cuts[held[-1]], cuts[held[-1] + 1 :]
    period = period_at(cut.rule, cut.anchor_at, at)
    if cut.since is not None and cut.since > period.start:
        start = cut.since.astimezone(UTC)
        period = replace(period, key=f"{start:%Y-%m-%d}", start=start)
    if following and following[0].since is not None and following[0].since < period.end:
        period = replace(period, end=following[0].since.astimezone(UTC))
    return period


def _piece_before(cuts: Sequence[Cut], period: Period) -> Period | None:
    try:
        return _piece(cuts, period.start - TICK)
    except LookupError:
        return None
