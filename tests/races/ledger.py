"""What must be true of the ledger whatever happened to it."""

import json
import time
from datetime import datetime
from typing import Any

from django.db.models import Sum

from config.contract.copy import OrgCopy
from quotas import snapshots
from quotas.models import UsageCounter
from tests.races.crew import Call
from usage.models import UsageEvent, UsageVoid

_COPY_SECONDS = 15


def use(
    org_id: str, request_id: str, *, at: datetime, value: int = 1, metric: str = "api_call"
) -> dict[str, Any]:
    """Return one event as the usage route takes it."""
    return {
        "orgId": org_id,
        "metric": metric,
        "value": value,
        "occurredAt": at.isoformat(),
        "request_id": request_id,
    }


def single(event: dict[str, Any]) -> Call:
    """Return the call that records one event."""
    return Call("/api/v1/usage", json.dumps(event))


def batch(org_id: str, events: list[dict[str, Any]]) -> Call:
    """Return the call that records many."""
    inner = [{k: v for k, v in event.items() if k != "orgId"} for event in events]
    return Call("/api/v1/usage/batch", json.dumps({"orgId": org_id, "events": inner}))


def counter_of(org_id: str, metric: str = "api_call") -> UsageCounter:
    """Return an organisation's only counter of a metric."""
    return UsageCounter.objects.get(org_id=org_id, metric=metric)


def sum_of_events(counter: UsageCounter) -> int:
    """Return the events less the voids of a counter's period."""
    mine = {"org_id": counter.org_id, "metric": counter.metric}
    period = {**mine, "period_start": counter.period_start}
    used = UsageEvent.objects.filter(**period).aggregate(n=Sum("value"))["n"] or 0
    back = UsageVoid.objects.filter(**period).aggregate(n=Sum("value"))["n"] or 0
    return int(used) - int(back)


def copy_equals_truth(copy: OrgCopy, counter: UsageCounter) -> bool:
    """Tell whether the copy holds the very numbers of the row."""
    held = snapshots.from_copy(copy.read(counter.org_id), counter.metric)
    return held == snapshots.of_row(counter, epoch=1)


def wait_for_the_copy(copy: OrgCopy, counter: UsageCounter) -> None:
    """Return when the copy equals the row. Fails when it does not come to that."""
    deadline = time.monotonic() + _COPY_SECONDS
    while not copy_equals_truth(copy, counter):
        held = snapshots.from_copy(copy.read(counter.org_id), counter.metric)
        assert time.monotonic() < deadline, f"the copy stays at {held}"
        time.sleep(0.05)  # another process publishes, and tells nobody
