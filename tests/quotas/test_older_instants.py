"""Writers whose clock is behind: what another node's clock has reached, nobody takes back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from config.contract.clients import clients
from quotas import check, counters
from quotas.corrections import PeriodClosed, preview_adjust
from quotas.errors import OutsideWindow
from quotas.models import Entitlement, UsageCounter
from quotas.rollover import close_ended, roll_over
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.support import counter_writers as writers
from tests.support.cast import Org, make_org
from tests.support.counter_writers import Writer
from usage import ledger
from usage.ledger import NewUsageEvent, Recorded
from usage.models import UsageVoid
from usage.voids import preview_void

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
AHEAD = NOW + timedelta(minutes=1)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
CLOSES = APRIL + timedelta(minutes=15)
SECOND = timedelta(seconds=1)


@pytest.fixture
def org(transactional_db: None) -> Org:
    """On 20 calls, of which one was used by a clock that is a minute ahead."""
    made = make_org(now=NOW, included=20)
    use(made, AHEAD, request_id=writers.VOIDED)
    return made


def use(
    org: Org,
    now: datetime,
    value: int = 1,
    *,
    at: datetime | None = None,
    request_id: str = "",
    metric: str = "api_call",
) -> Recorded:
    event = NewUsageEvent(metric, value, at or now, request_id or f"{now} {value}")
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    return outcome


def counter_of(org: Org, metric: str = "api_call") -> UsageCounter:
    return UsageCounter.objects.get(org_id=org.id, metric=metric, period_start__lte=NOW)


def roll(org: Org, now: datetime) -> None:
    """Close what is over, as the job does."""
    assert list(roll_over(now=now, org_ids=[org.id]))[-1].closed == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda org, now: use(org, now),
        lambda org, now: use(org, now, 15),  # crosses a threshold, which is another statement
        writers.derive,
        writers.raise_limit,
        writers.adjust,
        writers.forgive,
        writers.void,
        writers.mend,
        writers.choose,
    ],
    ids=["use", "cross", "derive", "raise_limit", "adjust", "forgive", "void", "mend", "choose"],
)
def test_no_writer_takes_a_counters_latest_instant_back(org: Org, write: Writer) -> None:
    if write is writers.mend:
        writers.put_wrong(org)
    before = counter_of(org)

    write(org, NOW)

    after = counter_of(org)
    assert before.updated_at == after.updated_at == AHEAD
    assert after != before or after.version >= before.version


@pytest.mark.parametrize(
    "close",
    [roll, lambda org, now: close_ended(org_id=org.id, now=now)],
    ids=["rollover", "close_ended"],
)
def test_nor_does_closing_it(org: Org, close: Callable[[Org, datetime], None]) -> None:
    counters.refresh(org_id=org.id, now=CLOSES + SECOND)

    close(org, CLOSES)

    closed = counter_of(org)
    assert (closed.closed_at, closed.updated_at) == (CLOSES, CLOSES + SECOND)


def test_a_closed_period_takes_no_use_from_a_clock_that_is_behind(org: Org) -> None:
    roll(org, CLOSES)
    before = counter_of(org)

    outcome = use(org, CLOSES - SECOND, at=APRIL - SECOND)

    assert isinstance(outcome.error, OutsideWindow)
    after = counter_of(org)
    assert (after.counted, after.version) == (before.counted, before.version)


def test_nor_is_it_opened_as_a_statement_is_asked_of_a_clock_that_is_behind(org: Org) -> None:
    UsageCounter.objects.filter(org_id=org.id, metric="compute_ms").delete()
    list(roll_over(now=CLOSES, org_ids=[org.id]))

    close_ended(org_id=org.id, now=CLOSES - SECOND)

    assert not UsageCounter.objects.filter(
        org_id=org.id, metric="compute_ms", period_start__lt=APRIL
    ).exists()


@pytest.mark.parametrize(
    "write",
    [
        writers.void,
        lambda org, now: preview_void(org_id=org.id, request_id=writers.VOIDED, now=now),
        lambda org, now: preview_adjust(org_id=org.id, metric="api_call", units=1, now=now),
    ],
    ids=["void", "preview_void", "preview_adjust"],
)
def test_a_closed_period_takes_no_correction_from_a_clock_that_is_behind(
    org: Org, write: Writer
) -> None:
    UsageCounter.objects.filter(org_id=org.id).update(closed_at=CLOSES)
    before = UsageCounter.objects.filter(org_id=org.id).order_by("metric")
    rows = list(before.values())

    with pytest.raises(PeriodClosed):
        write(org, NOW)

    assert list(before.all().values()) == rows
    assert not UsageVoid.objects.exists()


def test_a_closed_period_is_not_opened_for_another_metric_by_a_clock_that_is_behind(
    org: Org,
) -> None:
    UsageCounter.objects.filter(org_id=org.id, metric="compute_ms").delete()
    list(roll_over(now=CLOSES, org_ids=[org.id]))

    outcome = use(org, CLOSES - SECOND, at=APRIL - SECOND, metric="compute_ms")

    assert isinstance(outcome.error, OutsideWindow)
    assert not UsageCounter.objects.filter(
        org_id=org.id, metric="compute_ms", period_start__lt=APRIL
    ).exists()


@pytest.mark.parametrize(
    "write",
    [writers.derive, writers.raise_limit, writers.choose],
    ids=lambda write: write.__name__,
)
def test_a_closed_period_stays_as_it_was_closed(org: Org, write: Writer) -> None:
    counters.open_periods(org_id=org.id, wanted=[("api_call", APRIL)], now=APRIL)
    roll(org, CLOSES)
    closed = UsageCounter.objects.filter(org_id=org.id, period_start__lt=APRIL).order_by("metric")
    before = list(closed.values())

    write(org, CLOSES + SECOND)

    assert list(closed.values()) == before


def set_latest(org: Org, *, entitlement: datetime, **of_metrics: datetime) -> None:
    Entitlement.objects.filter(org_id=org.id).update(updated_at=entitlement)
    for metric, at in of_metrics.items():
        UsageCounter.objects.filter(org_id=org.id, metric=metric).update(updated_at=at)


@pytest.mark.parametrize(
    ("now", "entitlement", "api_call", "compute_ms"),
    [(3, 2, 1, 0), (2, 3, 1, 0), (1, 2, 3, 0), (0, 1, 2, 3)],
    ids=["its own", "the entitlement's", "a counter's", "another counter's"],
)
def test_an_organisations_instant_is_the_latest_that_anybody_wrote(
    org: Org, now: int, entitlement: int, api_call: int, compute_ms: int
) -> None:
    set_latest(
        org,
        entitlement=NOW + entitlement * SECOND,
        api_call=NOW + api_call * SECOND,
        compute_ms=NOW + compute_ms * SECOND,
    )
    with transaction.atomic():
        locked = counters.lock(org.id)
        assert locked is not None

        assert counters.instant_of(locked, now=NOW + now * SECOND) == NOW + 3 * SECOND


def test_where_nothing_was_counted_yet_it_is_the_later_of_the_two(org: Org) -> None:
    UsageCounter.objects.filter(org_id=org.id).delete()
    with transaction.atomic():
        locked = counters.lock(org.id)
        assert locked is not None

        assert counters.instant_of(locked, now=NOW - SECOND) == NOW
        assert counters.instant_of(locked, now=AHEAD) == AHEAD


def rise_at(org: Org, due: datetime) -> None:
    """Schedule a plan of 500 calls."""
    told = {"api_call": Allowance(20, "block"), "compute_ms": Allowance(9, "block")}
    rise = ScheduledChange("pro", {**told, "api_call": Allowance(500, "block")}, due)
    tell(org, NOW, allowances=told, scheduled=rise)


def tell(org: Org, now: datetime, **told: object) -> None:
    terms = {"plan_code": "starter", "status": "active", "anchor_at": NOW, **told}
    with transaction.atomic():
        grant(org_id=org.id, because="test", now=now, **terms)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", [writers.derive, writers.adjust], ids=["derive", "adjust"])
def test_a_change_that_took_effect_is_not_undone_by_a_clock_that_is_behind(
    org: Org, write: Writer
) -> None:
    due = AHEAD + timedelta(minutes=5)
    rise_at(org, due)
    counters.refresh(org_id=org.id, now=due + SECOND)
    assert counter_of(org).included == 500

    write(org, due - SECOND)

    assert counter_of(org).included == 500


def test_a_grant_by_a_clock_that_is_behind_is_as_of_the_latest_instant(org: Org) -> None:
    tell(org, NOW, allowances={"api_call": Allowance(30, "block")})

    row = Entitlement.objects.get(org_id=org.id)
    assert (row.updated_at, row.allowances_since) == (AHEAD, AHEAD)


def test_a_lower_limit_told_by_a_clock_that_is_behind_leaves_the_period_it_did_not_see(
    org: Org,
) -> None:
    counters.open_periods(org_id=org.id, wanted=[("api_call", APRIL)], now=APRIL + SECOND)

    tell(org, APRIL - SECOND, allowances={"api_call": Allowance(5, "block")})

    april = UsageCounter.objects.get(org_id=org.id, metric="api_call", period_start=APRIL)
    assert april.included == 20


def test_a_check_by_a_clock_that_is_behind_is_not_answered_from_the_next_period(org: Org) -> None:
    use(org, AHEAD, 19)
    counters.open_periods(org_id=org.id, wanted=[("api_call", APRIL)], now=APRIL)

    decision = check.check(
        org_id=org.id,
        metric="api_call",
        value=1,
        now=APRIL - SECOND,
        held=clients.copy.read(org.id),
    )

    assert decision.code == "RATE_LIMITED"
    assert decision.numbers.period_key == "2026-03"


def test_a_rollover_by_a_clock_that_is_behind_opens_nothing_beneath_what_a_restart_opened(
    transactional_db: None,
) -> None:
    restart = NOW + timedelta(days=3)
    told = {"api_call": Allowance(20, "block"), "compute_ms": Allowance(9, "block")}
    org = make_org(now=NOW, anchor_at=NOW, period_rule="billing_month")
    change = ScheduledChange("pro", told, restart, "billing_month", restart)
    tell(org, NOW, allowances=told, period_rule="billing_month", scheduled=change)
    UsageCounter.objects.filter(org_id=org.id, metric="compute_ms").delete()
    counters.open_periods(org_id=org.id, wanted=[("compute_ms", restart)], now=restart + SECOND)

    rolled = list(roll_over(now=restart - SECOND, org_ids=[org.id]))[-1]

    assert rolled.failed == 0
    [opened] = UsageCounter.objects.filter(org_id=org.id, metric="compute_ms")
    assert opened.period_start == restart
