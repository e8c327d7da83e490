"""What billing pushes down, and nothing else writes: the entitlement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from config.contract import clock, history
from quotas import counters, rules
from quotas.models import Entitlement, PeriodRule
from quotas.periods import period_at


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """A plan that takes over at `at` by itself."""

    plan_code: str
    allowances: Mapping[str, rules.Allowance]
    at: datetime


def grant(
    *,
    org_id: str,
    plan_code: str,
    status: str,
    allowances: Mapping[str, rules.Allowance],
    because: str,
    now: datetime,
    anchor_at: datetime,
    period_rule: str = PeriodRule.CALENDAR_MONTH,
    trial_ends_at: datetime | None = None,
    past_due_since: datetime | None = None,
    ends_at: datetime | None = None,
    scheduled: ScheduledChange | None = None,
) -> None:
    """Say what an organisation may use from `now` on.

    A higher limit applies to open counters at once, a lower one to the first
    period that begins at or after `now`. Every open counter's version grows, so
    that the copy follows. Saying the same again changes nothing. The current
    counters are opened. Must run inside the caller's transaction; the copy is
    published after its commit.
    """
    told = {
        "plan_code": plan_code,
        "status": status,
        "allowances": _snapshot(allowances),
        "period_rule": period_rule,
        "anchor_at": anchor_at,
        "trial_ends_at": trial_ends_at,
        "past_due_since": past_due_since,
        "ends_at": ends_at,
        "scheduled_plan_code": scheduled.plan_code if scheduled else "",
        "scheduled_allowances": _snapshot(scheduled.allowances) if scheduled else None,
        "scheduled_at": scheduled.at if scheduled else None,
    }
    with history.because(because):
        _tell(org_id, told, because=because, now=now)
    transaction.on_commit(lambda: counters.publish_open(org_id, now=clock.now()))


def _tell(org_id: str, told: dict[str, Any], *, because: str, now: datetime) -> None:
    entitlement = Entitlement.objects.select_for_update().filter(org_id=org_id).first()
    if entitlement is None:
        entitlement = Entitlement(
            org_id=org_id,
            allowances_since=now,
            status_since=now,
            status_because=because,
            started_at=now,
            updated_at=now,
            **told,
        )
        entitlement.save(force_insert=True)
    elif any(getattr(entitlement, name) != value for name, value in told.items()):
        _change(entitlement, told, because=because, now=now)
        counters.derive(entitlement, now=now)
    period = period_at(entitlement.period_rule, entitlement.anchor_at, now)
    for metric in rules.metrics_of(entitlement):
        counters.insert_counter(entitlement, metric, period, now=now)


def _change(entitlement: Entitlement, told: dict[str, Any], *, because: str, now: datetime) -> None:
    if entitlement.allowances != told["allowances"]:
        # Who comes back after losing access starts afresh; nothing is held over.
        held_over = rules.has_access(entitlement, now)
        entitlement.prior_allowances = _in_force(entitlement, now) if held_over else {}
        entitlement.allowances_since = now
    if entitlement.status != told["status"]:
        entitlement.status_since = now
        entitlement.status_because = because
    for name, value in told.items():
        setattr(entitlement, name, value)
    entitlement.version += 1
    entitlement.updated_at = now
    entitlement.save()


def _in_force(entitlement: Entitlement, now: datetime) -> dict[str, Any]:
    period = period_at(entitlement.period_rule, entitlement.anchor_at, now)
    return _snapshot(
        {
            metric: rules.limit_for(entitlement, metric, period_start=period.start, at=now)
            for metric in rules.metrics_of(entitlement)
        }
    )


def _snapshot(allowances: Mapping[str, rules.Allowance]) -> dict[str, Any]:
    return {
        metric: {"included": one.included, "overage": one.overage}
        for metric, one in sorted(allowances.items())
    }
