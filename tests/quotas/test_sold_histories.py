"""Whatever plans, cancellations and returns: no period counts more than was sold for it.

The model beside it knows nothing of entitlements or counters: it writes down what was
sold when, second by second, and adds up what was accepted.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from quotas import check
from quotas.errors import PaymentRequired
from quotas.models import UsageCounter
from quotas.periods import Period, period_at
from quotas.rollover import roll_over
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 3, 28, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLANS = {
    "small": {"api_call": Allowance(100, "block")},
    "large": {"api_call": Allowance(300, "block"), "compute_ms": Allowance(40, "block")},
    "open": {"api_call": Allowance(200, "allow"), "compute_ms": Allowance(20, "allow")},
}
METRICS = ["api_call", "compute_ms", "storage_gb"]
RULES = ["calendar_month", "billing_month"]


@dataclass
class Sales:
    """What was sold, from when until when, and what was accepted."""

    spans: list[tuple[datetime, datetime | None, str]] = field(default_factory=list)
    accepted: dict[tuple[str, datetime], int] = field(default_factory=dict)

    def sell(self, plan: str, at: datetime) -> None:
        self.stop(at)
        self.spans.append((at, None, plan))

    def stop(self, at: datetime) -> None:
        if self.spans and self.spans[-1][1] is None:
            since, _, plan = self.spans[-1]
            self.spans[-1] = (since, at, plan)

    def most(self, metric: str, start: datetime, end: datetime) -> float:
        """Return the most units of a metric that a plan sold in a period included."""
        offers = [
            PLANS[plan][metric]
            for since, until, plan in self.spans
            if metric in PLANS[plan] and since < end and (until is None or until > start)
        ]
        if any(offer.overage == "allow" for offer in offers):
            return float("inf")
        return max((offer.included for offer in offers), default=0)


class Life:
    """An organisation and the model of it."""

    def __init__(self, rule: str) -> None:
        self.org: Org = make_org(
            now=BEGAN, anchor_at=BEGAN, period_rule=rule, included=100, status="canceled"
        )
        self.rule, self.anchor = rule, BEGAN
        self.sales = Sales()
        self.plan: str | None = None
        self.last_plan = "small"
        self.events = 0

    def period(self, now: datetime) -> Period:
        """Return the period that the calendar or the latest anchor cuts around `now`."""
        return period_at(self.rule, self.anchor, now)

    def change(self, plan: str, now: datetime) -> None:
        if self.plan is None:
            # Whoever comes back has a new subscription with an anchor of its own.
            self.anchor = now
        self.plan = self.last_plan = plan
        self.sales.sell(plan, now)
        self.grant("active", now)

    def cancel(self, now: datetime) -> None:
        if self.plan is not None:
            self.plan = None
            self.sales.stop(now)
            self.grant("canceled", now)

    def lapse(self, now: datetime) -> None:
        """Let the payment be overdue: access ends by itself, a week after it was due."""
        if self.plan is not None:
            self.plan = None
            self.sales.stop(now)
            self.grant("past_due", now - HOUR, past_due_since=now - timedelta(days=7))

    def grant(self, status: str, now: datetime, **terms: Any) -> None:
        with transaction.atomic():
            grant(
                org_id=self.org.id,
                plan_code=self.last_plan,
                status=status,
                allowances=PLANS[self.last_plan],
                because="test",
                now=now,
                anchor_at=self.anchor,
                period_rule=self.rule,
                **terms,
            )

    def use(self, metric: str, units: int, at: datetime, now: datetime) -> None:
        self.events += 1
        event = NewUsageEvent(metric, units, at, f"{self.org.id}/{self.events}")
        [outcome] = ledger.record(org_id=self.org.id, events=[event], now=now)
        if outcome.numbers is not None:
            key = (metric, outcome.numbers.period.start)
            self.sales.accepted[key] = self.sales.accepted.get(key, 0) + units

    def check(self, metric: str, now: datetime) -> None:
        try:
            decision = check.check(org_id=self.org.id, metric=metric, value=1, now=now, held=None)
        except PaymentRequired:
            return
        assert self.plan is not None or not decision.allow

    def assert_nothing_unsold_was_counted(self) -> None:
        ends = dict(
            UsageCounter.objects.filter(org_id=self.org.id).values_list(
                "period_start", "period_end"
            )
        )
        for (metric, start), units in self.sales.accepted.items():
            most = self.sales.most(metric, start, ends[start])
            assert units <= most, (metric, start, units, most)


JUST_BEFORE = INTO_THE_NEXT = -1
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("change"), st.sampled_from(sorted(PLANS))),
            st.tuples(st.sampled_from(["cancel", "lapse", "roll_over"])),
            st.tuples(st.just("check"), st.sampled_from(METRICS)),
            st.tuples(
                st.just("use"),
                st.sampled_from(METRICS),
                st.sampled_from([1, 30, 100, 900_000_000]),
                # Minutes ago; JUST_BEFORE: shortly before the current period.
                st.one_of(st.just(JUST_BEFORE), st.integers(0, 20), st.integers(0, 60 * 24 * 60)),
            ),
        ),
        # Minutes that pass; INTO_THE_NEXT: until a few minutes after the period's end.
        st.one_of(st.just(INTO_THE_NEXT), st.integers(1, 5), st.integers(1, 30 * 24 * 60)),
    ),
    min_size=3,
    max_size=14,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    print_blob=True,
)
@given(rule=st.sampled_from(RULES), steps=STEPS)
@example(
    # Away for a whole month, asking all the same, and back.
    rule="calendar_month",
    steps=[
        (("change", "open"), 1),
        (("cancel",), 5),
        (("check", "api_call"), INTO_THE_NEXT),
        (("roll_over",), INTO_THE_NEXT),
        (("change", "open"), 3),
        (("use", "api_call", 900_000_000, JUST_BEFORE), 2),
    ],
)
@example(
    # A metric that the plan of last month did not have.
    rule="billing_month",
    steps=[
        (("change", "small"), 1),
        (("change", "large"), INTO_THE_NEXT),
        (("use", "compute_ms", 30, JUST_BEFORE), 2),
    ],
)
def test_no_period_counts_more_than_was_sold_for_it(
    transactional_db: None,
    rule: str,
    steps: list[tuple[tuple[object, ...], int]],
) -> None:
    note(f"{rule} {steps}")
    life = Life(rule)
    now = BEGAN + HOUR
    for (act, *arguments), minutes in steps:
        if minutes == INTO_THE_NEXT:
            now = life.period(now).end + timedelta(minutes=2)
        else:
            now += timedelta(minutes=minutes)
        match act, arguments:
            case "use", [str() as metric, int() as units, int() as ago]:
                before = life.period(now).start - timedelta(minutes=5)
                at = before if ago == JUST_BEFORE else now - timedelta(minutes=ago)
                life.use(metric, units, at, now)
            case "roll_over", _:
                list(roll_over(now=now, org_ids=[life.org.id]))
            case "change", [str() as plan]:
                life.change(plan, now)
            case "check", [str() as metric]:
                life.check(metric, now)
            case "cancel", _:
                life.cancel(now)
            case _:
                life.lapse(now)

    life.assert_nothing_unsold_was_counted()
    assert list(reconcile(now=now, org_ids=[life.org.id]))[-1].drifts == []
