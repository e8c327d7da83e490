"""Which metrics exist. The plan catalogue pushes them down; a request only looks them up."""

import time
from collections.abc import Iterable

from config.contract.errors import ValidationFailed
from quotas.models import Metric

#: Seconds between two looks for a metric this process does not know.
_LOOK_AGAIN = 2.0

_known: frozenset[str] = frozenset()
_looked_at = float("-inf")


def define(codes: Iterable[str]) -> None:
    """Make metrics known. A metric is never forgotten: its counters stay readable."""
    Metric.objects.bulk_create([Metric(code=code) for code in codes], ignore_conflicts=True)


def codes() -> list[str]:
    """Return every metric that anything was ever counted under."""
    return list(Metric.objects.order_by("code").values_list("code", flat=True))


def is_known(metric: str) -> bool:
    """Tell whether something is counted under this name. Usually no query."""
    global _known, _looked_at
    if metric in _known:
        return True
    if time.monotonic() - _looked_at < _LOOK_AGAIN and _known:
        return False
    _known = frozenset(Metric.objects.values_list("code", flat=True))
    _looked_at = time.monotonic()
    return metric in _known


def require(metric: str) -> str:
    """Return `metric`. Raises ValidationFailed when nothing is counted under it."""
    if not is_known(metric):
        raise ValidationFailed({"metric": ["Unknown metric"]})
    return metric
