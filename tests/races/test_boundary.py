"""Writers on both sides of a boundary while the old period closes under them."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from billing.statements.services import seal_closed, verify
from quotas.models import UsageCounter
from quotas.rollover import roll_over
from tests.races.conftest import Length
from tests.races.interleave import all_at_once, by_hand, in_thread, wait_until_blocked
from tests.races.ledger import sum_of_events
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.reconcile import reconcile

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]

BEGAN = datetime(2026, 3, 10, 9, tzinfo=UTC)
NEXT = datetime(2026, 4, 1, tzinfo=UTC)
CLOSES = NEXT + timedelta(minutes=15)
WRITERS = 16


def record(org: Org, request_id: str, *, now: datetime, at: datetime) -> Recorded:
    event = NewUsageEvent("api_call", 1, at, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    return outcome


@dataclass
class Told:
    """What the writers were answered, with the instant each event carried."""

    answers: list[tuple[datetime, Recorded]] = field(default_factory=list)

    def write(self, org: Org, each: int, closing: threading.Event, n: int) -> None:
        """Say events of both periods in turn, the first half before the old one closes."""
        for i in range(each):
            now = CLOSES + timedelta(milliseconds=(i - each // 2) * 20 + n)
            at = NEXT + timedelta(seconds=(-1) ** (i + n))
            self.answers.append((at, record(org, f"{n}-{i}", now=now, at=at)))
            if i == each // 3:
                closing.set()


def close(org: Org, closing: threading.Event) -> None:
    """Roll over, from the middle of the writing on, until the old period is closed."""
    assert closing.wait(30)
    ended = UsageCounter.objects.filter(org_id=org.id, period_end=NEXT, closed_at=None)
    while ended.exists():  # a rollover passes over a counter that somebody counts in
        list(roll_over(now=CLOSES, org_ids=[org.id]))


@pytest.mark.parametrize("rule", ["calendar_month", "billing_month"])
def test_each_event_is_in_one_period_and_none_in_a_closed_one(
    transactional_db: None, length: Length, rule: str
) -> None:
    for _ in range(length.of(1, 10)):  # for each of the two rules
        org = make_org(
            now=BEGAN, included=10_000, period_rule=rule, anchor_at=NEXT - timedelta(days=31)
        )
        told, closing, each = Told(), threading.Event(), length.of(12, 40)

        writers = [partial(told.write, org, each, closing, n) for n in range(WRITERS)]
        all_at_once([*writers, partial(close, org, closing)])

        old, new = UsageCounter.objects.filter(org_id=org.id, metric="api_call").order_by(
            "period_start"
        )
        accepted = Counter(one.numbers.period_key for _, one in told.answers if one.numbers)
        assert len(told.answers) == WRITERS * each
        assert old.closed_at is not None
        assert new.used == sum_of_events(new) == accepted[new.period_key] == WRITERS * each // 2
        assert old.used == sum_of_events(old) == accepted[old.period_key]
        for at, one in told.answers:
            right = old if at < NEXT else new
            assert one.numbers is None or one.numbers.period_key == right.period_key
            assert one.error is None or one.error.status == 400
        done = list(reconcile(now=CLOSES + timedelta(seconds=2), org_ids=[org.id]))[-1]
        assert (done.drifts, done.events) == ([], sum(accepted.values()))


def test_a_period_is_sealed_with_what_was_still_being_counted_in_it(transactional_db: None) -> None:
    org = make_org(now=BEGAN, included=100)
    in_time, in_march = CLOSES - timedelta(microseconds=1), NEXT - timedelta(days=1)
    record(org, "earlier", now=in_time, at=in_march)
    with by_hand() as held:
        held.execute("SELECT 1 FROM quotas_usagecounter WHERE org_id = %s FOR UPDATE", (org.id,))
        late = in_thread(partial(record, org, "late", now=in_time, at=in_march))
        wait_until_blocked(1)
        sealing = in_thread(partial(seal_closed, org_id=org.id, now=CLOSES))
        wait_until_blocked(2)

        held.rollback()
        outcome, seals = late.result(5), sealing.result(5)

    assert outcome.status == "accepted"
    assert seals["2026-03"].rows["metrics"]["api_call"]["counted"] == 2
    assert list(verify(org_id=org.id)) == []
