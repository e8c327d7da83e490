"""What billing pushes down, and nothing else writes: the entitlement."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from config.contract import clock, history
from quotas import counters, rules
from quotas.models import Entitlement, Overage, PeriodRule
from quotas.periods import Cut, forget_before, recut


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """A plan that takes over at `at` by itself.

    `period_rule` and `anchor_at` where periods are then cut otherwise than before.
    """

    plan_code: str
    allowances: Mapping[str, rules.Allowance]
    at: datetime
    period_rule: str = ""
    anchor_at: datetime | None = None
    overage_prices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


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
    overage_prices: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Say what an organisation may use from `now` on.

    `overage_prices` are kept beside the allowances, so that the history knows what was
    sold and at what; no limit depends on them.

    A higher limit applies to open counters at once, a lower one to the first
    period that begins at or after `now`. Where the anchor of billing periods
    restarted, the open counters end there and the next period opens with its quota
    (quotas.periods.recut). Every open counter's version grows, so that the copy
    follows. Saying the same again changes nothing. The current
    counters are opened. Where the organisation is known to have reached a later instant
    than `now`, by another node's clock, that one is meant. Must run inside the caller's
    transaction; the copy is published after its commit.
    """
    told = {
        "plan_code": plan_code,
        "status": status,
        "allowances": _snapshot(allowances),
        "overage_prices": overage_prices or {},
        "period_rule": period_rule,
        "anchor_at": anchor_at,
        "trial_ends_at": trial_ends_at,
        "past_due_since": past_due_since,
        "ends_at": ends_at,
        "scheduled_plan_code": scheduled.plan_code if scheduled else "",
        "scheduled_allowances": _snapshot(scheduled.allowances) if scheduled else None,
        "scheduled_overage_prices": scheduled.overage_prices if scheduled else {},
        "scheduled_at": scheduled.at if scheduled else None,
        "scheduled_period_rule": scheduled.period_rule if scheduled else "",
        "scheduled_anchor_at": scheduled.anchor_at if scheduled else None,
    }
    with history.because(because):
        changed = _tell(org_id, told, because=because, now=now)
    if changed:
        transaction.on_commit(lambda: counters.publish_open(org_id, now=clock.now()))


def _tell(org_id: str, told: dict[str, Any], *, because: str, now: datetime) -> bool:
    """Write down what was told and open the counters; returns whether anything was new."""
    entitlement = counters.lock(org_id)
    if entitlement is None:
        changed = True
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
    else:
        now = counters.instant_of(entitlement, now=now)
        changed = any(getattr(entitlement, name) != value for name, value in told.items())
        if changed:
            _change(entitlement, told, because=because, now=now)
            counters.derive(entitlement, now=now)
    held = set(counters.current(org_id, now=now).values_list("metric", flat=True))
    missing = [metric for metric in rules.metrics_of(entitlement) if metric not in held]
    period = rules.period_of(entitlement, now, known_at=now)
    counters.insert_counters(entitlement, [(metric, period) for metric in missing], now=now)
    return changed or bool(missing)


def _change(entitlement: Entitlement, told: dict[str, Any], *, because: str, now: datetime) -> None:
    had_access = rules.has_access(entitlement, now)
    # What can still be counted under the old terms has its counters before they change.
    counters.open_live(entitlement, now=now)
    in_force = _in_force(entitlement, now)
    cuts, began_at = _cuts(entitlement, told, now=now)
    allowances_change = entitlement.allowances != told["allowances"]
    if entitlement.status != told["status"]:
        entitlement.status_since = now
        entitlement.status_because = because
    for name, value in told.items():
        setattr(entitlement, name, value)
    if allowances_change or (not had_access and rules.has_access(entitlement, now)):
        # Whoever comes back starts anew, even on the same plan: nothing was sold meanwhile.
        # Held over is then only overage, which would go uncharged under a limit that blocks.
        entitlement.prior_allowances = (
            in_force if had_access else _overage_begun(entitlement.org_id, now)
        )
        entitlement.allowances_since = min(now, began_at)
    entitlement.cuts = rules.cuts_as_json(cuts)
    entitlement.version += 1
    entitlement.updated_at = now
    entitlement.save()


def _cuts(
    entitlement: Entitlement, told: dict[str, Any], *, now: datetime
) -> tuple[list[Cut], datetime]:
    """Return how time is cut, as it is known now, and from when on new limits hold."""
    due = told["scheduled_at"] is not None and told["scheduled_at"] <= now
    rule, anchor_at = told["period_rule"], told["anchor_at"]
    if due:
        rule = told["scheduled_period_rule"] or rule
        anchor_at = told["scheduled_anchor_at"] or anchor_at
    running = rules.period_of(entitlement, now, known_at=now)
    cuts = recut(
        rules.cuts_of(entitlement, now),
        Cut(rule, anchor_at),
        now=now,
        used_until=counters.used_until(entitlement.org_id, now=now),
    )
    since = cuts[-1].since
    # The period that a restart opens is one that begins with the change.
    began_at = since if since is not None and since > running.start else now
    grace = max(rules.late_grace(overage) for overage in Overage.values)
    cuts = forget_before(cuts, now - grace)
    always_so = len(cuts) == 1 and cuts[0].since is None and not due
    return ([] if always_so else cuts), began_at


def _in_force(entitlement: Entitlement, now: datetime) -> dict[str, Any]:
    period = rules.period_of(entitlement, now, known_at=now)
    return _snapshot(
        {
            metric: rules.limit_for(
                entitlement, metric, period_start=period.start, period_end=period.end, at=now
            )
            for metric in rules.metrics_of(entitlement)
        }
    )


def _overage_begun(org_id: str, now: datetime) -> dict[str, Any]:
    """Return the allowances of the running counters that have gone past them."""
    return _snapshot(
        {
            counter.metric: rules.Allowance(counter.included, counter.overage)
            for counter in counters.current(org_id, now=now)
            if counter.overage == Overage.ALLOW and counter.used > counter.limit
        }
    )


def _snapshot(allowances: Mapping[str, rules.Allowance]) -> dict[str, Any]:
    return {
        metric: {"included": one.included, "overage": one.overage}
        for metric, one in sorted(allowances.items())
    }
