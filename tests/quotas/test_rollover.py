"""Rolling over early: the same end as if nobody had."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import Count

from config.contract import clock
from quotas.models import Entitlement, UsageCounter
from quotas.rollover import RolledOver, roll_over
from quotas.rules import Allowance
from quotas.services import ScheduledChange
from tests.support.cast import Org, data, make_org

pytestmark = pytest.mark.django_db(transaction=True)


def run(**options: object) -> RolledOver:
    now = options.pop("now", None) or clock.now()
    return list(roll_over(now=now, **options))[-1]  # type: ignore[arg-type]


def test_a_new_period_is_opened_for_everybody_once(org: Org, stranger: Org) -> None:
    now = clock.now() + timedelta(days=32)

    first, second = run(now=now), run(now=now)

    assert (first.opened, second.opened) == (4, 0)
    assert first.failed == []
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

    assert done.failed == [org.id]
    assert done.opened == 2


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


def test_the_first_touch_after_three_dead_periods_is_in_the_right_one(org: Org) -> None:
    clock.set_offset(timedelta(days=95).total_seconds())

    answer = data(org.use(1))

    assert answer["periodKey"] == f"{clock.now():%Y-%m}"
    assert answer["remaining"] == 9_999
    per_period = UsageCounter.objects.values("metric", "period_key").annotate(n=Count("pk"))
    assert {row["n"] for row in per_period} == {1}
