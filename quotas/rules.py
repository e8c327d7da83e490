"""Where it is decided what an entitlement means at an instant. Pure; touches no table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from quotas.models import Entitlement, Overage, Status
from quotas.periods import TICK, Cut, Period, period_in, recut

FAR = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Allowance:
    """Units of one metric that a plan includes, and what happens past them."""

    included: int
    overage: str

    def at_least(self, other: "Allowance") -> bool:
        """Tell whether nothing gets tighter by moving from `other` to this."""
        mine = (self.overage == Overage.ALLOW, self.included)
        return mine >= (other.overage == Overage.ALLOW, other.included)


NOTHING = Allowance(included=0, overage=Overage.BLOCK)


def allowance(snapshot: Mapping[str, Any] | None, metric: str) -> Allowance:
    """Read one metric out of an allowances snapshot; a metric it does not name has nothing."""
    found = (snapshot or {}).get(metric)
    return Allowance(found["included"], found["overage"]) if found else NOTHING


def plan_code_at(entitlement: Entitlement, at: datetime) -> str:
    """Return the plan in force at `at`: a scheduled change applies by itself when due."""
    if entitlement.scheduled_at and at >= entitlement.scheduled_at:
        return entitlement.scheduled_plan_code
    return entitlement.plan_code


def metrics_of(entitlement: Entitlement) -> list[str]:
    """Return the metrics the entitlement speaks of, sorted."""
    return sorted({*entitlement.allowances, *(entitlement.scheduled_allowances or {})})


def cuts_of(entitlement: Entitlement, at: datetime) -> list[Cut]:
    """Return how time is cut into periods, as it is known at `at` (quotas.periods)."""
    cuts = [
        Cut(
            one["rule"],
            datetime.fromisoformat(one["anchorAt"]),
            datetime.fromisoformat(one["since"]) if one["since"] else None,
        )
        for one in entitlement.cuts
    ] or [Cut(entitlement.period_rule, entitlement.anchor_at)]
    if entitlement.scheduled_at is None or at < entitlement.scheduled_at:
        return cuts
    due = Cut(
        entitlement.scheduled_period_rule or entitlement.period_rule,
        entitlement.scheduled_anchor_at or entitlement.anchor_at,
    )
    return recut(cuts, due, now=entitlement.scheduled_at, used_until=None, as_announced=True)


def cuts_as_json(cuts: Sequence[Cut]) -> list[dict[str, str | None]]:
    """Return cuts as an entitlement keeps them."""
    return [
        {
            "rule": cut.rule,
            "anchorAt": cut.anchor_at.isoformat(),
            "since": cut.since.isoformat() if cut.since else None,
        }
        for cut in cuts
    ]


def period_of(entitlement: Entitlement, at: datetime, *, known_at: datetime) -> Period:
    """Return the period that contains `at`, as it is known at `known_at`.

    Raises LookupError for a time so far back that all its periods are closed.
    """
    return period_in(cuts_of(entitlement, known_at), at)


def counted_from(entitlement: Entitlement, *, known_at: datetime) -> datetime:
    """Return the start of the first period in which anything can have been counted."""
    cuts = cuts_of(entitlement, known_at)
    earliest = cuts[0].since
    if earliest is not None and earliest > entitlement.started_at:
        return earliest
    return period_in(cuts, entitlement.started_at).start


def limit_for(
    entitlement: Entitlement,
    metric: str,
    *,
    period_start: datetime,
    period_end: datetime,
    at: datetime,
) -> Allowance:
    """Return the allowance that the period `[period_start, period_end)` has at `at`.

    A higher limit applies at once to the running period, a lower one only to periods
    that begin at or after its instant. None applies to a period that ended before it.
    """
    limit = allowance(entitlement.prior_allowances, metric)
    for since, snapshot in _sets_in_force(entitlement, at):
        following = allowance(snapshot, metric)
        if since < period_end and (period_start >= since or following.at_least(limit)):
            limit = following
    return limit


def is_sold_in(
    entitlement: Entitlement, metric: str, *, period_end: datetime, at: datetime
) -> bool:
    """Tell whether allowances that are in force at `at` sold `metric` in a period that is over.

    They did where they name it and began before the period ended. Allowances that held
    earlier are not asked: what they sold was opened before they were replaced
    (quotas.services).
    """
    return any(
        metric in snapshot and since < period_end
        for since, snapshot in _sets_in_force(entitlement, at)
    )


def _sets_in_force(
    entitlement: Entitlement, at: datetime
) -> list[tuple[datetime, Mapping[str, Any]]]:
    """Return the allowances that began by `at`, oldest first, each with its beginning."""
    sets = [(entitlement.allowances_since, entitlement.allowances)]
    if entitlement.scheduled_at and at >= entitlement.scheduled_at:
        sets.append((entitlement.scheduled_at, entitlement.scheduled_allowances or {}))
    return sets


def has_access(entitlement: Entitlement, at: datetime) -> bool:
    """Tell whether the subscription is valid at `at` (api.md section 4).

    Trialing until the trial ends and the grace after it, active, past due within
    its grace. Every other status is not.
    """
    return is_valid(
        entitlement.status,
        at,
        trial_ends_at=entitlement.trial_ends_at,
        past_due_since=entitlement.past_due_since,
        ends_at=entitlement.ends_at,
    )


def is_valid(
    status: str,
    at: datetime,
    *,
    trial_ends_at: datetime | None,
    past_due_since: datetime | None,
    ends_at: datetime | None,
) -> bool:
    """Tell whether a subscription that says this is valid at `at`."""
    ends = validity_ends(status, trial_ends_at, past_due_since, ends_at)
    return status == Status.ACTIVE if ends is None else at < ends


def last_access(entitlement: Entitlement, at: datetime) -> datetime | None:
    """Return the last instant up to `at` that had access.

    `at` itself where it has; None where the present status gives none at any time.
    """
    if has_access(entitlement, at):
        return at
    ends = access_ends(entitlement)
    return None if ends is None else ends - TICK


def next_change(entitlement: Entitlement, at: datetime) -> datetime:
    """Return the first instant after `at` when time alone changes status or limit."""
    instants = [entitlement.scheduled_at, access_ends(entitlement)]
    later = [instant for instant in instants if instant is not None and instant > at]
    return min(later, default=at + FAR)


def late_grace(overage: str) -> timedelta:
    """Return how long after its end a period still takes late events."""
    allowed = overage == Overage.ALLOW
    grace: timedelta = settings.LATE_GRACE_ALLOW if allowed else settings.LATE_GRACE_BLOCK
    return grace


def valid_until(
    entitlement: Entitlement, *, period_end: datetime, overage: str, at: datetime
) -> datetime:
    """Return until when a counter's `access` and limit hold without looking again."""
    if at >= period_end:
        period_end = period_end + late_grace(overage)
    return min(next_change(entitlement, at), max(period_end, at))


def access_ends(entitlement: Entitlement) -> datetime | None:
    """Return when access ends by itself; None where time alone does not end it, or none is."""
    return validity_ends(
        entitlement.status,
        entitlement.trial_ends_at,
        entitlement.past_due_since,
        entitlement.ends_at,
    )


def validity_ends(
    status: str,
    trial_ends_at: datetime | None,
    past_due_since: datetime | None,
    ends_at: datetime | None,
) -> datetime | None:
    """Return when a subscription's validity ends by time alone; None as `access_ends` does."""
    ends = []
    if status == Status.TRIALING and trial_ends_at:
        ends.append(trial_ends_at + settings.TRIAL_GRACE)
    elif status == Status.PAST_DUE and past_due_since:
        ends.append(past_due_since + settings.PAST_DUE_GRACE)
    elif status != Status.ACTIVE:
        return None
    if ends_at:
        ends.append(ends_at)
    return min(ends, default=None)
