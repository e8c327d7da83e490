"""Which period takes an event, and until when what a counter says may be believed."""

from datetime import UTC, datetime, timedelta

import pytest

from config.contract.clients import clients
from config.contract.errors import ApiError
from quotas.check import check
from quotas.models import UsageCounter
from quotas.rules import Allowance
from quotas.services import ScheduledChange
from tests.races.ledger import sum_of_events
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

BEGAN = datetime(2026, 3, 10, 9, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def record(
    org: Org, *, now: datetime, at: datetime | None = None, value: int = 1, name: str | None = None
) -> Recorded:
    """Record one use at `now` that occurred `at`."""
    at = at or now
    request_id = name or f"{now.isoformat()}/{at.isoformat()}/{value}"
    event = NewUsageEvent("api_call", value, at, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    return outcome


def verdict(outcome: Recorded) -> str:
    return outcome.error.code if outcome.error else outcome.status


def checked(org: Org, *, now: datetime, value: int = 1) -> str:
    """Return what the check says, from the copy and from the database alike."""
    said = set()
    for held in (clients.copy.read(org.id), None):
        try:
            decided = check(org_id=org.id, metric="api_call", value=value, now=now, held=held)
            said.add(decided.code or "allowed")
        except ApiError as refusal:
            said.add(refusal.code)
    [verdict] = said
    return verdict


def period_of(outcome: Recorded) -> str:
    assert outcome.numbers is not None, outcome.error
    return outcome.numbers.period_key


@pytest.mark.parametrize(
    ("plan", "grace"), [("pro", timedelta(minutes=15)), ("business", timedelta(hours=72))]
)
def test_a_late_event_counts_in_its_own_period_until_the_grace_is_over(
    transactional_db: None, plan: str, grace: timedelta
) -> None:
    org = make_org(plan=plan, now=BEGAN)
    occurred = APRIL - TICK

    within = record(org, at=occurred, now=APRIL + grace - TICK)
    beyond = record(org, at=occurred, now=APRIL + grace)

    assert period_of(within) == "2026-03"
    assert verdict(beyond) == "VALIDATION_ERROR"
    assert UsageEvent.objects.count() == 1


def test_a_late_event_of_the_period_before_the_last_is_refused(transactional_db: None) -> None:
    org = make_org(plan="business", now=BEGAN)

    assert verdict(record(org, at=APRIL - TICK, now=MAY + TICK)) == "VALIDATION_ERROR"


def test_a_late_event_opens_a_period_that_nobody_ever_touched(transactional_db: None) -> None:
    org = make_org(plan="pro", now=BEGAN)
    assert not UsageCounter.objects.filter(period_key="2026-04").exists()

    outcome = record(org, at=MAY - TICK, now=MAY + timedelta(minutes=5), value=7)

    assert period_of(outcome) == "2026-04"
    april = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_key="2026-04")
    assert april.used == sum_of_events(april) == 7
    assert april.included == 100_000


def test_nothing_is_counted_before_the_period_of_the_first_grant(transactional_db: None) -> None:
    org = make_org(plan="business", now=APRIL + timedelta(minutes=1))

    assert verdict(record(org, at=APRIL - TICK, now=APRIL + timedelta(hours=1))) == (
        "VALIDATION_ERROR"
    )
    assert period_of(record(org, at=APRIL, now=APRIL + timedelta(hours=1))) == "2026-04"


def test_a_late_batch_is_decided_event_by_event_in_two_periods(transactional_db: None) -> None:
    org = make_org(plan="pro", now=BEGAN)
    instants = [APRIL - TICK, APRIL, BEGAN - timedelta(days=30), APRIL + timedelta(minutes=1)]
    events = [NewUsageEvent("api_call", 1, at, f"r-{n}") for n, at in enumerate(instants)]

    outcomes = ledger.record(org_id=org.id, events=events, now=APRIL + timedelta(minutes=2))

    assert [verdict(outcome) for outcome in outcomes] == [
        "accepted",
        "accepted",
        "VALIDATION_ERROR",
        "accepted",
    ]
    keys = [outcome.numbers.period_key for outcome in outcomes if outcome.numbers]
    assert keys == ["2026-03", "2026-04", "2026-04"]


def test_an_early_event_counts_at_the_servers_instant(transactional_db: None) -> None:
    org = make_org(plan="pro", now=BEGAN)
    now = APRIL - timedelta(minutes=2)

    ahead = record(org, at=now + timedelta(minutes=5), now=now)
    too_far = record(org, at=now + timedelta(minutes=5) + TICK, now=now)

    assert period_of(ahead) == "2026-03"
    event = UsageEvent.objects.get()
    assert (event.counted_at, event.occurred_at) == (now, now + timedelta(minutes=5))
    assert verdict(too_far) == "VALIDATION_ERROR"


def test_a_trial_ends_a_day_after_its_end_unless_stripe_speaks(transactional_db: None) -> None:
    ends = BEGAN + timedelta(days=14)
    org = make_org(status="trialing", trial_ends_at=ends, now=BEGAN)
    last = ends + timedelta(hours=24)

    assert verdict(record(org, now=last - TICK)) == "accepted"
    assert checked(org, now=last - TICK) == "allowed"
    assert verdict(record(org, now=last)) == "PAYMENT_REQUIRED"
    assert checked(org, now=last) == "PAYMENT_REQUIRED"
    assert UsageEvent.objects.count() == 1


def test_past_due_lasts_seven_days(transactional_db: None) -> None:
    org = make_org(status="past_due", past_due_since=BEGAN, now=BEGAN)
    last = BEGAN + timedelta(days=7)

    assert checked(org, now=last - TICK) == "allowed"
    assert verdict(record(org, now=last - TICK)) == "accepted"
    assert checked(org, now=last) == "PAYMENT_REQUIRED"
    assert verdict(record(org, now=last)) == "PAYMENT_REQUIRED"


def scheduled_org(*, included: int, then: int, at: datetime) -> Org:
    return make_org(
        plan="pro",
        included=included,
        now=BEGAN,
        scheduled=ScheduledChange("other", {"api_call": Allowance(then, "block")}, at),
    )


def test_a_scheduled_rise_applies_to_the_open_period_at_its_instant(
    transactional_db: None,
) -> None:
    change = BEGAN + timedelta(days=5)
    org = scheduled_org(included=10, then=20, at=change)

    assert verdict(record(org, now=change - TICK, value=15)) == "RATE_LIMITED"
    assert checked(org, now=change - TICK, value=15) == "RATE_LIMITED"
    assert checked(org, now=change, value=15) == "allowed"
    assert verdict(record(org, now=change, value=15)) == "accepted"


def test_a_scheduled_cut_starts_with_the_next_period(transactional_db: None) -> None:
    change = BEGAN + timedelta(days=5)
    org = scheduled_org(included=20, then=10, at=change)

    assert verdict(record(org, now=change, value=15)) == "accepted"
    assert verdict(record(org, now=APRIL - TICK, value=5)) == "accepted"
    assert checked(org, now=APRIL, value=11) == "RATE_LIMITED"
    assert verdict(record(org, now=APRIL, value=11)) == "RATE_LIMITED"
    assert verdict(record(org, now=APRIL, value=10)) == "accepted"


def test_a_cut_at_the_boundary_leaves_the_ended_period_its_limit(transactional_db: None) -> None:
    org = scheduled_org(included=20, then=10, at=APRIL)

    late = record(org, at=APRIL - TICK, now=APRIL + timedelta(minutes=10), value=20)
    new = record(org, now=APRIL + timedelta(minutes=10), value=11)

    assert (verdict(late), period_of(late)) == ("accepted", "2026-03")
    assert verdict(new) == "RATE_LIMITED"
