"""The numbers behind an answer, and the headers that carry them."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.http import http_date as _http_date

from quotas.periods import Period
from quotas.snapshots import CounterSnapshot


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a decision was made from."""

    metric: str
    period_key: str
    used: int
    limit: int
    remaining: int
    period: Period

    @property
    def resets_at(self) -> datetime:
        """When the next period begins."""
        return self.period.end


def numbers_of(snapshot: CounterSnapshot) -> Numbers:
    """Return the numbers of a counter's snapshot."""
    return Numbers(
        metric=snapshot.metric,
        period_key=snapshot.period_key,
        used=snapshot.used,
        limit=snapshot.limit,
        remaining=snapshot.remaining,
        period=snapshot.period,
    )


def rate_limit_headers(
    metric: str, *, remaining: int, limit: int, period: Period, now: datetime
) -> dict[str, str]:
    """Return `RateLimit` and `RateLimit-Policy`, times in whole seconds."""
    left = max(0, int((period.end - now).total_seconds()))
    return {
        "RateLimit": f'"{metric}";r={remaining};t={left}',
        "RateLimit-Policy": f'"{metric}";q={limit};w={period.seconds}',
    }


def http_date(at: datetime) -> str:
    """Return an HTTP-date."""
    return _http_date(at.timestamp())
