"""Whoever changes a counter beside recording, each called as the product calls it.

All of them are held to the same: what they read they have locked, no instant goes back,
and nobody hears of a change before it is committed.
"""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from quotas import corrections, counters, thresholds
from quotas.models import UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org
from usage.repairs import repair
from usage.voids import void_event

Writer = Callable[[Org, datetime], object]

INCLUDED = {"api_call": 20, "compute_ms": 1_000}
#: The use that `void` takes back; whoever prepares the organisation records it.
VOIDED = "to be voided"


def derive(org: Org, now: datetime) -> None:
    """Derive the counters anew, as where time alone changed something."""
    counters.refresh(org_id=org.id, now=now)


def raise_limit(org: Org, now: datetime) -> None:
    """Grant more, as an upgrade does."""
    told = {metric: Allowance(2 * units, "block") for metric, units in INCLUDED.items()}
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status="active",
            allowances=told,
            because="test",
            now=now,
            anchor_at=now,
        )


def adjust(org: Org, now: datetime) -> None:
    """Give units beside the plan's."""
    corrections.adjust(org_id=org.id, metric="api_call", units=5, reason="r", who="w", now=now)


def forgive(org: Org, now: datetime) -> None:
    """Take what was used off the books."""
    corrections.forgive(org_id=org.id, metric="api_call", reason="r", who="w", now=now)


def void(org: Org, now: datetime) -> None:
    """Take one event back."""
    void_event(org_id=org.id, request_id=VOIDED, reason="r", voided_by="w", now=now)


def mend(org: Org, now: datetime) -> None:
    """Set a counter right that says what its rows do not."""
    counter = UsageCounter.objects.get(
        org_id=org.id, metric="api_call", period_start__lte=now, period_end__gt=now
    )
    assert repair((org.id, "api_call", counter.period_start), who="w", now=now)


def choose(org: Org, now: datetime) -> None:
    """Hear of another threshold."""
    thresholds.choose(org_id=org.id, percents=[90], now=now)


def put_wrong(org: Org) -> None:
    """Give `mend` something to do."""
    UsageCounter.objects.filter(org_id=org.id, metric="api_call").update(adjusted=3)
