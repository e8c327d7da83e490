"""Rolling over early: the same end as if nobody had."""

from datetime import timedelta
from functools import partial
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from config.contract import clock
from config.contract.clients import clients
from quotas import corrections, rules, snapshots
from quotas.models import Entitlement, PeriodRule, UsageCounter
from quotas.rollover import RolledOver, roll_over
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support.cast import Org, make_org
from usage import ledger
from usage.ledger import NewUsageEvent

pytestmark = pytest.mark.django_db(transaction=True)


def run(**options: object) -> RolledOver:
    now = options.pop("now", None) or clock.now()
    return list(roll_over(now=now, **options))[-1]  # type: ignore[arg-type]


def test_a_new_period_is_opened_for_everybody_once(org: Org, stranger: Org) -> None:
    now = clock.now() + timedelta(days=32)

    first, second = run(now=now), run(now=now)

    assert (first.opened, second.opened) == (4, 0)
    assert first.failed == 0
    assert UsageCounter.objects.filter(period_start__lte=now, period_end__gt=now).count() == 4


def test_who_has_no_subscription_gets_no_period(transactional_db: None) -> None:
    make_org(status="canceled")

    assert run(now=clock.now() + timedelta(days=32)).opened == 0


def test_old_periods_close_after_their_grace_and_take_nothing_afterwards(org: Org) -> None:
    org.use(5, request_id="r1")
    end = UsageCounter.objects.filter(org_id=org.id).first().period_end  # type: ignore[union-attr]

    early = run(now=end + timedelta(minutes=14))
    late = run(now=end + timedelta(minutes=15))

    assert (early.closed, late.closed) == (0, 2)
    assert run(now=end + timedelta(minutes=16)).closed == 0


def test_a_due_change_is_derived(transactional_db: None) -> None:
    org = make_org(
        plan="starter",
        scheduled=ScheduledChange(
            "pro", {"api_call": Allowance(100_000, "block")}, clock.now() + timedelta(hours=1)
        ),
    )

    done = run(now=clock.now() + timedelta(hours=2))

    assert done.derived == 1
    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")
    assert counter.included == 100_000


def test_one_broken_organisation_is_named_and_the_rest_go_on(org: Org, stranger: Org) -> None:
    Entitlement.objects.filter(org_id=org.id).update(allowances={"api_call": {"included": 1}})
    now = clock.now() + timedelta(days=32)

    done = run(now=now)

    assert (done.failed, done.named) == (1, [org.id])
    assert done.opened == 2


def test_one_whose_periods_would_overlap_is_named_and_the_rest_of_its_page_goes_on(
    org: Org, stranger: Org
) -> None:
    now = clock.now() + timedelta(days=32)
    UsageCounter.objects.filter(org_id=org.id, metric="api_call").update(
        period_end=now - timedelta(minutes=1),
        closed_at=now - timedelta(minutes=1),  # an open one would be cut short
    )

    done = run(now=now)

    assert (done.failed, done.named, done.opened) == (1, [org.id], 2)


def test_one_that_cannot_be_derived_is_named_and_the_rest_go_on(transactional_db: None) -> None:
    due = clock.now() + timedelta(hours=1)
    change = ScheduledChange("pro", {"api_call": Allowance(100_000, "block")}, due)
    broken, whole = make_org(scheduled=change), make_org(scheduled=change)
    Entitlement.objects.filter(org_id=broken.id).update(scheduled_allowances={"api_call": 1})

    done = run(now=due)

    assert (done.derived, done.failed, done.named) == (1, 1, [broken.id])
    assert UsageCounter.objects.get(org_id=whole.id, metric="api_call").included == 100_000


def test_what_is_opened_is_in_the_copy(org: Org, stranger: Org) -> None:
    now = clock.now() + timedelta(days=32)

    run(now=now)

    for one in (org, stranger):
        counter = UsageCounter.objects.get(org_id=one.id, metric="api_call", period_end__gt=now)
        copied = snapshots.from_copy(clients.copy.read(one.id), "api_call")
        assert copied == snapshots.of_row(counter, epoch=1)


def test_a_period_that_restarted_is_opened_with_what_it_takes_over(transactional_db: None) -> None:
    now = clock.now()
    org = make_org(period_rule="billing_month", anchor_at=now - timedelta(days=5))
    corrections.adjust(
        org_id=org.id, metric="api_call", units=50, reason="x", who="test", now=clock.now()
    )
    ahead = now + timedelta(hours=1)  # a trial's end that was moved
    with transaction.atomic():
        grant(
            org_id=org.id, plan_code="starter", status="active", because="test", now=clock.now(),
            allowances={"api_call": Allowance(10, "block")}, anchor_at=ahead,
            period_rule="billing_month",
        )  # fmt: skip

    run(now=ahead)

    [old, new] = UsageCounter.objects.filter(org_id=org.id, metric="api_call").order_by("pk")
    assert old.period_end == new.period_start == ahead
    assert (old.adjusted, new.adjusted) == (0, 50)


def test_what_is_to_come_is_shown_and_not_done(org: Org) -> None:
    at = (clock.now() + timedelta(days=32)).isoformat()

    with pytest.raises(CommandError, match="lies ahead"):
        call_command("rollover_periods", "--at", at)

    assert UsageCounter.objects.filter(closed_at=None).count() == 2


def test_a_dry_run_counts_and_changes_nothing(org: Org) -> None:
    org.use(1)
    out = StringIO()
    at = (clock.now() + timedelta(days=32)).isoformat()

    call_command("rollover_periods", "--dry-run", "--at", at, stdout=out)

    assert out.getvalue().startswith("2 counters would be opened")
    assert "2 periods would be closed" in out.getvalue()
    assert UsageCounter.objects.count() == 2


def test_only_the_named_organisation_is_rolled(org: Org, stranger: Org) -> None:
    assert run(now=clock.now() + timedelta(days=32), org_ids=[org.id]).opened == 2


@pytest.mark.parametrize("rule", PeriodRule.values)
def test_the_first_touch_after_three_dead_periods_is_in_the_right_one(
    transactional_db: None, rule: str
) -> None:
    org = make_org(period_rule=rule, anchor_at=clock.now() - timedelta(days=10))
    use = partial(NewUsageEvent, "api_call", 1)
    dead = 3.2 * (366 if rule == PeriodRule.BILLING_YEAR else 31)
    now = clock.now() + timedelta(days=dead)

    [first] = ledger.record(org_id=org.id, events=[use(now, "r1")], now=now)

    assert first.numbers is not None
    assert now in first.numbers.period
    assert first.numbers.remaining == 9_999
    # Whoever is asked later for what lies between finds it cut without gap or overlap.
    entitlement = Entitlement.objects.get(org_id=org.id)
    period = rules.period_of(entitlement, clock.now(), known_at=now)
    dead_ones = 0
    while now not in period:
        following = rules.period_of(entitlement, period.end, known_at=now)
        assert following.start == period.end
        period, dead_ones = following, dead_ones + 1
    assert dead_ones >= 3
    assert period == first.numbers.period
    stored = UsageCounter.objects.filter(org_id=org.id, metric="api_call").order_by("period_start")
    assert [one.period_key for one in stored][-1] == period.key
    assert stored.count() == 2
