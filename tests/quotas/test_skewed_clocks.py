"""Nodes whose clocks differ by a minute: no grant fails, and the books agree."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from quotas import check, counters
from quotas.errors import PaymentRequired
from quotas.models import Status, UsageCounter
from quotas.rollover import roll_over
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support.cast import Org, make_org
from tests.support.length import at_length
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 3, 30, 23, 50, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PLANS = [
    {"api_call": Allowance(100, "block")},
    {"api_call": Allowance(900, "allow"), "compute_ms": Allowance(5, "block")},
    {"api_call": Allowance(50, "block"), "compute_ms": Allowance(9, "allow")},
]
PERIOD_RULES = ["calendar_month", "billing_month", "billing_year"]


class Nodes:
    """One organisation, worked on by nodes that each believe another clock."""

    def __init__(self, rule: str) -> None:
        self.org: Org = make_org(now=BEGAN, anchor_at=BEGAN, period_rule=rule, included=100)
        self.terms: dict[str, Any] = {
            "plan_code": "0",
            "status": "active",
            "allowances": PLANS[0],
            "anchor_at": BEGAN,
            "period_rule": rule,
            "scheduled": None,
            "trial_ends_at": None,
        }
        self.events = 0
        self.latest = BEGAN

    def do(self, act: str, number: int, now: datetime) -> None:
        self.latest = max(self.latest, now)
        getattr(self, act)(number, now)

    def grant(self, now: datetime, **terms: Any) -> None:
        self.terms |= terms
        with transaction.atomic():
            grant(org_id=self.org.id, because="test", now=now, **self.terms)

    def restart(self, number: int, now: datetime) -> None:
        # Stripe's anchor, in whole seconds and by a clock of its own.
        anchor = now.replace(microsecond=0) - (number % 5) * SECOND
        self.grant(now, anchor_at=anchor, scheduled=None)

    def change_plan(self, number: int, now: datetime) -> None:
        self.grant(now, allowances=PLANS[number % 3], plan_code=str(number % 3))

    def change_rule(self, number: int, now: datetime) -> None:
        self.grant(now, period_rule=PERIOD_RULES[number % 3])

    def schedule(self, number: int, now: datetime) -> None:
        due = now.replace(microsecond=0) + (number % 120) * SECOND
        change = ScheduledChange(
            str(number % 3), PLANS[number % 3], due, PERIOD_RULES[number % 3], due
        )
        self.grant(now, scheduled=change)

    def unschedule(self, number: int, now: datetime) -> None:
        self.grant(now, scheduled=None)

    def trial(self, number: int, now: datetime) -> None:
        end = now.replace(microsecond=0) + number * SECOND
        self.grant(now, status="trialing", trial_ends_at=end, anchor_at=end)

    def change_status(self, number: int, now: datetime) -> None:
        self.grant(now, status=[Status.ACTIVE, Status.CANCELED][number % 2])

    def use(self, number: int, now: datetime) -> None:
        self.events += 1
        metric = ["api_call", "compute_ms"][number % 2]
        at = now - (number % 4) * 40 * SECOND
        event = NewUsageEvent(metric, 1 + number % 3, at, f"{self.org.id}/{self.events}")
        ledger.record(org_id=self.org.id, events=[event], now=now)

    def check(self, number: int, now: datetime) -> None:
        with suppress(PaymentRequired):
            check.check(org_id=self.org.id, metric="api_call", value=1, now=now, held=None)

    def refresh(self, number: int, now: datetime) -> None:
        counters.refresh(org_id=self.org.id, now=now)

    def roll_over(self, number: int, now: datetime) -> None:
        assert list(roll_over(now=now, org_ids=[self.org.id]))[-1].failed == 0


ACTS: list[Callable[..., None]] = [
    Nodes.restart, Nodes.change_plan, Nodes.change_rule, Nodes.schedule, Nodes.unschedule,
    Nodes.trial, Nodes.change_status, Nodes.use, Nodes.check, Nodes.refresh, Nodes.roll_over,
]  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from([act.__name__ for act in ACTS]),
        st.integers(0, 200),
        # Seconds that pass, and by how many this node's clock is ahead or behind.
        st.one_of(st.integers(0, 90), st.integers(0, 3 * 86_400)),
        st.sampled_from([-60, 0, 60]),
    ),
    min_size=2,
    max_size=14,
)


@settings(
    max_examples=500 if at_length() else 60,
    deadline=None,
    derandomize=not at_length(),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    # What fails is short enough to read: shrinking it takes minutes of the database's time.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    print_blob=True,
)
@given(rule=st.sampled_from(PERIOD_RULES), steps=STEPS)
@example(
    # A node ahead opens what a scheduled change begins; one behind takes it back.
    rule="billing_month",
    steps=[("schedule", 31, 0, 0), ("use", 0, 0, 60), ("unschedule", 0, 1, -60)],
)
@example(
    # A use ahead of the restart that a node behind hears of.
    rule="billing_month",
    steps=[("use", 0, 0, 60), ("restart", 0, 1, -60), ("use", 0, 0, 60), ("restart", 1, 9, -60)],
)
@example(
    # A trial's end that lay ahead passes after a scheduled change of rule, and nobody looks.
    rule="billing_year",
    steps=[("trial", 62, 0, 0), ("schedule", 24, 19, -60), ("change_rule", 0, 150, 0)],
)
@example(
    rule="billing_year",
    steps=[
        ("roll_over", 200, 52, 60),
        ("refresh", 125, 37, -60),
        ("trial", 69, 49, -60),
        ("trial", 128, 88, 60),
        ("change_plan", 161, 323, -60),
        ("trial", 62, 73, 0),
        ("schedule", 24, 79, -60),
        ("change_rule", 0, 90, 0),
    ],
)
def test_no_order_of_skewed_clocks_makes_a_grant_fail(
    transactional_db: None, rule: str, steps: list[tuple[str, int, int, int]]
) -> None:
    note(f"{rule} {steps}")
    nodes = Nodes(rule)
    real = BEGAN + 2 * MINUTE
    for act, number, passed, skew in steps:
        real += passed * SECOND
        nodes.do(act, number, real + skew * SECOND)

    settled = nodes.latest + MINUTE
    nodes.check(0, settled)
    assert list(reconcile(now=settled, org_ids=[nodes.org.id]))[-1].drifts == []
    assert UsageCounter.objects.filter(
        org_id=nodes.org.id, period_start__lte=settled, period_end__gt=settled
    ).exists()
