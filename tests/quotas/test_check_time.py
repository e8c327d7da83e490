"""POST /api/quota/check as time passes. No job runs in any of these tests."""

from datetime import UTC, datetime, timedelta

import pytest
from dateutil.relativedelta import relativedelta

from config.contract import clock
from config.contract.clients import clients
from quotas import check
from quotas.periods import period_at
from quotas.rules import Allowance
from quotas.services import ScheduledChange
from tests.contract.refusals import refused
from tests.support.cast import Org, data, make_org
from usage import ledger
from usage.ledger import NewUsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def travel(to: datetime) -> None:
    """Move the installation's clock; tokens live by the real one."""
    clock.set_offset((to - clock.real_now()).total_seconds())


def next_month(after: datetime) -> datetime:
    return period_at("calendar_month", after, after).end


def test_a_trial_lasts_a_day_longer_than_it_says_and_no_longer(transactional_db: None) -> None:
    ends = clock.now() + 14 * DAY
    org = make_org(status="trialing", trial_ends_at=ends)
    assert org.check(1).status_code == 200

    statuses = []
    for instant in (ends - HOUR, ends + HOUR, ends + 23 * HOUR, ends + DAY + HOUR):
        travel(instant)
        statuses.append(org.check(1).status_code)

    assert statuses == [200, 200, 200, 402]


def test_past_due_is_forgiven_for_a_week(transactional_db: None) -> None:
    since = clock.now()
    org = make_org(status="past_due", past_due_since=since)

    statuses = []
    for instant in (since + HOUR, since + 7 * DAY - HOUR, since + 7 * DAY + HOUR):
        travel(instant)
        statuses.append(org.check(1).status_code)

    assert statuses == [200, 200, 402]


def test_recording_ends_at_the_same_instant_as_checking(transactional_db: None) -> None:
    ends = clock.now() + 14 * DAY
    org = make_org(status="trialing", trial_ends_at=ends)
    org.check(1)

    travel(ends + DAY + HOUR)

    refused(org.use(1), 402, "PAYMENT_REQUIRED")
    refused(org.check(1), 402, "PAYMENT_REQUIRED")


def test_a_spent_quota_is_whole_again_when_the_next_period_starts(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(10)
    denied = refused(org.check(1), 429, "RATE_LIMITED")

    resets_at = datetime.fromisoformat(denied["details"]["resetsAt"])
    travel(resets_at + HOUR)

    answer = data(org.check(10))
    assert answer == {"allow": True, "remaining": 10, "periodKey": f"{resets_at:%Y-%m}"}


def test_a_denial_lasts_until_the_next_period_and_not_a_second_less(
    transactional_db: None,
) -> None:
    org = make_org(included=10)
    org.use(10)
    end = next_month(clock.now())

    statuses = []
    for instant in (end - timedelta(seconds=30), end + timedelta(seconds=1)):
        travel(instant)
        statuses.append(org.check(1).status_code)

    assert statuses == [429, 200]


def test_a_period_nobody_touched_is_opened_by_who_comes_first(org: Org) -> None:
    travel(clock.now() + relativedelta(months=5))

    answer = data(org.check(1))

    assert answer["periodKey"] == f"{clock.now():%Y-%m}"
    assert data(org.use(1))["used"] == 1


def test_billing_periods_follow_their_anchor(transactional_db: None) -> None:
    anchor = clock.now() - 3 * DAY
    org = make_org(included=10, anchor_at=anchor, period_rule="billing_month")
    org.use(10)
    first_end = anchor + relativedelta(months=1)

    statuses = []
    for instant in (first_end - HOUR, first_end + HOUR):
        travel(instant)
        statuses.append(org.check(10).status_code)

    assert statuses == [429, 200]
    assert data(org.check(1))["periodKey"] == f"{first_end:%Y-%m-%d}"


def scheduled(plan: str, included: int, at: datetime) -> ScheduledChange:
    return ScheduledChange(plan, {"api_call": Allowance(included, "block")}, at)


def test_a_scheduled_cut_takes_effect_with_its_period(transactional_db: None) -> None:
    start = next_month(clock.now())
    org = make_org(plan="pro", included=100, scheduled=scheduled("starter", 10, start))
    assert org.check(100).status_code == 200

    statuses = []
    for instant in (start - HOUR, start + HOUR):
        travel(instant)
        statuses.append(org.check(11).status_code)

    assert statuses == [200, 429]
    assert data(org.check(10))["remaining"] == 10


def test_a_scheduled_rise_takes_effect_at_its_instant_within_a_period(
    transactional_db: None,
) -> None:
    start = next_month(clock.now())
    rise = start + 10 * DAY
    org = make_org(included=10, scheduled=scheduled("pro", 100, rise))
    travel(start + DAY)
    org.use(10)
    assert org.check(1).status_code == 429

    travel(rise + HOUR)

    assert data(org.check(90))["remaining"] == 90
    assert data(org.use(90))["remaining"] == 0


def test_a_scheduled_cut_in_the_middle_of_a_period_waits_for_the_next(
    transactional_db: None,
) -> None:
    start = next_month(clock.now())
    org = make_org(plan="pro", included=100, scheduled=scheduled("starter", 10, start + 5 * DAY))

    statuses = []
    for instant in (start + 6 * DAY, start + 35 * DAY):
        travel(instant)
        statuses.append(org.check(11).status_code)

    assert statuses == [200, 429]


def test_a_change_that_is_due_is_seen_by_the_first_who_records(transactional_db: None) -> None:
    start = next_month(clock.now())
    org = make_org(plan="pro", included=100, scheduled=scheduled("starter", 10, start))
    org.check(1)

    travel(start + HOUR)

    assert data(org.use(10))["remaining"] == 0
    assert org.use(1).status_code == 429


def test_what_a_late_use_published_of_an_ended_period_answers_no_check_of_the_next(
    transactional_db: None,
) -> None:
    began, april = datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    now = april + timedelta(minutes=1)
    org = make_org(now=began, included=20)
    late = NewUsageEvent("api_call", 10, april - timedelta(minutes=1), "late")
    [outcome] = ledger.record(org_id=org.id, events=[late], now=now)
    assert outcome.status == "accepted"

    decision = check.check(
        org_id=org.id, metric="api_call", value=1, now=now, held=clients.copy.read(org.id)
    )

    assert (decision.allow, decision.numbers.period_key) == (True, "2026-04")
