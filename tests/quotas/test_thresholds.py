"""Crossing a share of a limit is written down once per period, metric and limit."""

import math
from datetime import timedelta
from typing import Any

import pytest
from django.db import InternalError, ProgrammingError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.contract import clock
from config.contract.ids import new_id
from quotas import corrections, thresholds
from quotas.crossings import DEFAULT_PERCENTS, ThresholdCrossed
from quotas.models import Entitlement, UsageCounter
from quotas.rules import Allowance
from quotas.services import grant
from tests.support.cast import Org, data, make_org
from usage.ledger import NewUsageEvent, record
from usage.voids import void_event

pytestmark = pytest.mark.django_db(transaction=True)


def counter(org: Org) -> UsageCounter:
    return UsageCounter.objects.get(org_id=org.id, metric="api_call")


def crossed(org: Org) -> list[tuple[int, int, int]]:
    """Return (percent, limit, used) of every crossing of `api_call`, in order."""
    rows = ThresholdCrossed.objects.filter(org_id=org.id, metric="api_call").order_by("pk")
    return list(rows.values_list("percent", "units_limit", "used"))


def allow(org: Org, included: int) -> None:
    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(included, "block")},
            because="test",
            now=clock.now(),
            anchor_at=Entitlement.objects.get(org_id=org.id).anchor_at,
        )


def adjust(org: Org, units: int, **more: Any) -> None:
    corrections.adjust(
        org_id=org.id,
        metric="api_call",
        units=units,
        reason="test",
        who="test",
        now=clock.now(),
        **more,
    )


def void(org: Org, request_id: str) -> None:
    void_event(
        org_id=org.id, request_id=request_id, reason="test", voided_by="test", now=clock.now()
    )


def test_reaching_a_share_of_the_limit_is_written_with_the_use(transactional_db: None) -> None:
    org = make_org(included=10)

    org.use(4)
    before = crossed(org)
    org.use(1)

    assert before == []
    assert crossed(org) == [(50, 10, 5)]
    assert counter(org).next_threshold_at == 8


def test_every_share_is_written_once_and_none_after_the_last(transactional_db: None) -> None:
    org = make_org(included=10)

    for _ in range(10):
        org.use(1)

    assert crossed(org) == [(50, 10, 5), (80, 10, 8), (100, 10, 10)]
    assert counter(org).next_threshold_at is None


def test_one_event_may_cross_several_shares(transactional_db: None) -> None:
    org = make_org(included=10)

    org.use(9)

    assert crossed(org) == [(50, 10, 9), (80, 10, 9)]


def test_a_batch_crosses_them_all_at_once(transactional_db: None) -> None:
    org = make_org(included=10)
    events = [NewUsageEvent("api_call", 1, clock.now(), new_id("req")) for _ in range(10)]

    record(org_id=org.id, events=events, now=clock.now())

    assert crossed(org) == [(50, 10, 10), (80, 10, 10), (100, 10, 10)]


def test_a_denied_event_crosses_nothing(transactional_db: None) -> None:
    org = make_org(included=10)

    assert org.use(11).status_code == 429

    assert crossed(org) == []


def test_a_limit_that_no_share_divides_is_reached_at_the_next_whole_unit(
    transactional_db: None,
) -> None:
    org = make_org(included=3)

    org.use(1)
    one = crossed(org)
    org.use(1)

    assert one == []
    assert crossed(org) == [(50, 3, 2)]


def test_use_that_is_voided_and_repeated_crosses_no_second_time(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(5, request_id="r-1")

    void(org, "r-1")
    org.use(5)

    assert crossed(org) == [(50, 10, 5)]


def test_a_raised_limit_arms_the_shares_that_are_ahead(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(9)

    allow(org, 100)
    armed = counter(org).next_threshold_at
    org.use(41)

    assert armed == 50
    assert crossed(org) == [(50, 10, 9), (80, 10, 9), (50, 100, 50)]


def test_a_raised_limit_does_not_repeat_a_share_that_stays_behind(transactional_db: None) -> None:
    org = make_org(included=100)
    org.use(95)

    adjust(org, 20)

    assert crossed(org) == [(50, 100, 95), (80, 100, 95)]
    assert counter(org).next_threshold_at == 96


def test_units_taken_away_may_cross_a_share(transactional_db: None) -> None:
    org = make_org(included=100)
    org.use(55)

    adjust(org, -45)

    assert crossed(org) == [(50, 100, 55), (80, 55, 55), (100, 55, 55)]


def test_a_forced_reset_repeats_nothing_under_the_same_limit(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(8)

    corrections.forgive(
        org_id=org.id, metric="api_call", reason="outage", who="test", now=clock.now()
    )
    armed = counter(org).next_threshold_at
    org.use(9)

    assert armed == 10
    assert crossed(org) == [(50, 10, 8), (80, 10, 8)]


def test_each_period_begins_anew(transactional_db: None) -> None:
    org = make_org(included=10)
    org.use(5)

    clock.set_offset(timedelta(days=31).total_seconds())
    org.use(5)

    assert len(set(ThresholdCrossed.objects.values_list("period_key", flat=True))) == 2


def test_units_carried_out_of_a_period_that_was_cut_cross_nothing(transactional_db: None) -> None:
    began = clock.now() - timedelta(days=3)
    org = make_org(now=began, anchor_at=began, period_rule="billing_month", included=100)
    adjust(org, 50)
    org.use(110)
    restart = clock.now()

    with transaction.atomic():
        grant(
            org_id=org.id,
            plan_code="pro",
            status="active",
            allowances={"api_call": Allowance(5_000, "block")},
            because="test",
            now=restart,
            anchor_at=restart,
            period_rule="billing_month",
        )

    limits = UsageCounter.objects.filter(org_id=org.id, metric="api_call").order_by("period_start")
    assert [row.limit for row in limits] == [110, 5_040]
    assert crossed(org) == [(50, 150, 110)]


def test_a_metric_that_includes_nothing_has_no_shares(transactional_db: None) -> None:
    org = make_org(included=0)

    adjust(org, -5)

    assert counter(org).next_threshold_at is None
    assert crossed(org) == []


def test_an_organisation_hears_of_the_shares_it_chose(transactional_db: None) -> None:
    org = make_org(included=100)
    org.use(30)

    thresholds.choose(org_id=org.id, percents=[90, 25, 40, 40], now=clock.now())
    org.use(70)

    assert thresholds.chosen(org.id) == [25, 40, 90]
    assert crossed(org) == [(40, 100, 100), (90, 100, 100)]


@pytest.mark.parametrize("taken_back", ["voided", "forgiven"])
def test_a_share_that_was_passed_as_it_was_chosen_is_ahead_again_once_use_is_taken_back(
    transactional_db: None, taken_back: str
) -> None:
    org = make_org(included=100)
    org.use(95, request_id="r-1")
    thresholds.choose(org_id=org.id, percents=[90], now=clock.now())
    assert counter(org).next_threshold_at is None

    if taken_back == "voided":
        void(org, "r-1")
    else:
        corrections.forgive(
            org_id=org.id, metric="api_call", reason="test", who="test", now=clock.now()
        )

    assert counter(org).next_threshold_at == 90
    org.use(92)
    assert (90, 100, 92) in crossed(org)


def test_an_organisation_may_choose_to_hear_of_none(transactional_db: None) -> None:
    org = make_org(included=10)

    thresholds.choose(org_id=org.id, percents=[], now=clock.now())
    org.use(10)

    assert crossed(org) == []


def test_the_database_knows_the_same_shares_for_who_chose_nothing(org: Org) -> None:
    org.use(10_000)

    assert thresholds.chosen(org.id) == [percent for percent, _, _ in crossed(org)]
    assert tuple(thresholds.chosen(org.id)) == DEFAULT_PERCENTS


def test_nobody_writes_another_threshold_into_a_counter(org: Org) -> None:
    UsageCounter.objects.filter(org_id=org.id, metric="api_call").update(next_threshold_at=1)

    assert counter(org).next_threshold_at == 5_000


def test_what_was_crossed_stays_as_it_was_written(org: Org) -> None:
    org.use(5_000)

    ThresholdCrossed.objects.update(told_at=clock.real_now())
    for change in ("UPDATE {} SET used = 1", "DELETE FROM {}"):
        with pytest.raises((ProgrammingError, InternalError)), connection.cursor() as cursor:
            cursor.execute(change.format("quotas_thresholdcrossed"))

    assert crossed(org) == [(50, 10_000, 5_000)]


class Model:
    """What the rule says in as many words, to hold the database against."""

    def __init__(self, included: int) -> None:
        self.counted = self.forgiven = self.adjusted = 0
        self.included = included
        self.told: set[tuple[int, int]] = set()

    @property
    def used(self) -> int:
        return self.counted - self.forgiven

    @property
    def limit(self) -> int:
        return max(0, self.included + self.adjusted)

    def passed(self) -> set[int]:
        return {p for p in DEFAULT_PERCENTS if self.used >= math.ceil(self.limit * p / 100)}

    def change(self, **to: int) -> None:
        before = self.passed()
        for name, value in to.items():
            setattr(self, name, value)
        if self.limit:
            self.told |= {(p, self.limit) for p in self.passed() - before}

    def next(self) -> int | None:
        ahead = [
            math.ceil(self.limit * p / 100)
            for p in DEFAULT_PERCENTS
            if (p, self.limit) not in self.told and self.used < math.ceil(self.limit * p / 100)
        ]
        return min(ahead, default=None)


STEPS = st.one_of(
    st.tuples(st.just("use"), st.integers(1, 12)),
    st.tuples(st.just("void"), st.integers(0, 30)),
    st.tuples(st.just("adjust"), st.integers(-12, 12).filter(bool)),
    st.tuples(st.just("grant"), st.integers(0, 40)),
    st.tuples(st.just("forgive"), st.just(0)),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=3, max_size=14), included=st.integers(0, 20))
def test_no_order_of_changes_writes_a_share_twice_or_leaves_one_out(
    transactional_db: None, steps: list[tuple[str, int]], included: int
) -> None:
    org = make_org(included=included)
    model = Model(included)
    held: list[tuple[str, int]] = []

    for what, number in steps:
        if what == "use":
            event = NewUsageEvent("api_call", number, clock.now(), new_id("req"))
            [outcome] = record(org_id=org.id, events=[event], now=clock.now())
            if outcome.status == "accepted":
                held.append((event.request_id, number))
                model.change(counted=model.counted + number)
        elif what == "void" and held:
            request_id, value = held.pop(number % len(held))
            void(org, request_id)
            model.change(counted=model.counted - value)
        elif what == "adjust":
            adjust(org, number)
            model.change(adjusted=model.adjusted + number)
        elif what == "grant":
            allow(org, number)
            model.change(included=counter(org).included)
        elif what == "forgive":
            corrections.forgive(
                org_id=org.id, metric="api_call", reason="test", who="test", now=clock.now()
            )
            model.change(forgiven=model.counted)
            held.clear()
        assert counter(org).next_threshold_at == model.next()

    assert sorted(model.told) == sorted((p, limit) for p, limit, _ in crossed(org))


def test_use_over_http_is_answered_as_before(transactional_db: None) -> None:
    org = make_org(included=10)

    assert data(org.use(5))["remaining"] == 5
    assert data(org.use(5))["remaining"] == 0
