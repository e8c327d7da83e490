"""The dashboard: true numbers, lights with words, and as many queries however much there is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Operation
from config.backoffice.seeding import seed
from config.contract import clock
from quotas.denial_book import book
from quotas.models import UsageCounter
from tests.backoffice.conftest import READERS
from tests.contract.outages import no_valkey
from tests.support.cast import Org, make_org
from usage.models import CounterCheck, DailyTotal, DailyUsage
from usage.rollup import roll_days
from webhooks.models import EventCoverage, WebhookEvent

pytestmark = pytest.mark.django_db
Staff = Callable[[str], Client]


def board(client: Client, query: str = "") -> dict[str, Any]:
    response = client.get(f"/admin/{query}")
    assert response.status_code == 200
    shown: dict[str, Any] = response.context["dashboard"]
    return shown


def light(client: Client, name: str) -> Any:
    [found] = [one for one in board(client)["lights"] if one.name == name]
    return found


def queries(client: Client, url: str) -> int:
    clock.forget_offset()
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def webhook(state: str, *, age: timedelta) -> None:
    at = clock.now() - age
    WebhookEvent.objects.create(
        event_id=f"evt_{state}",
        type="invoice.paid",
        correlation_id="c",
        state=state,
        due_at=at,
        created_at=at,
        received_at=at,
        processed_at=at + timedelta(seconds=2) if state == "processed" else None,
    )


@pytest.mark.parametrize("role", READERS)
def test_every_role_sees_it(staff: Staff, role: str) -> None:
    assert board(staff(role))["lights"]


def test_who_has_no_role_sees_nothing_of_it(db: None, client: Client) -> None:
    client.force_login(User.objects.create(username="new", is_staff=True))

    response = client.get("/admin/")

    assert "dashboard" not in response.context
    assert "no role yet" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_its_queries_do_not_grow_with_the_rows(staff: Staff) -> None:
    client = staff("auditor")
    seed(organisations=30, events=300, now=clock.now())
    few = queries(client, "/admin/")
    seed(organisations=60, events=600, now=clock.now())

    many = queries(client, "/admin/")

    assert many == few
    # Session and rights 4, the clock 1, the lights 9, the rest of the page 8.
    assert many <= 24


@pytest.mark.django_db(transaction=True)
def test_the_charts_show_the_use_of_each_metric_by_day(staff: Staff, org: Org) -> None:
    org.use(5)
    org.use(2, metric="compute_ms")
    list(roll_days([clock.now().date()], now=clock.now()))

    charts = {chart.title: chart for chart in board(staff("support"))["usage"]}

    assert {title: chart.total for title, chart in charts.items()} == {
        "api_call": 5,
        "compute_ms": 2,
    }
    assert charts["api_call"].bars[-1].values == (5,)
    assert len(charts["api_call"].bars) == 30


@pytest.mark.django_db(transaction=True)
def test_denied_uses_stand_beside_those_counted(staff: Staff) -> None:
    org = make_org(included=3)
    for value in (1, 2, 1, 1):
        org.use(value)
    book.flush()
    list(roll_days([clock.now().date()], now=clock.now()))

    decisions = board(staff("support"))["decisions"]

    assert (decisions.counted, decisions.denied, decisions.rate) == (2, 2, 50)


def test_a_range_of_days_can_be_chosen(staff: Staff) -> None:
    client = staff("support")

    assert board(client, "?days=7")["days"].length == 7
    chosen = board(client, "?from=2026-01-30&to=2026-02-02")
    assert [bar.day.isoformat() for bar in chosen["sign_ups"].bars] == [
        "2026-01-30",
        "2026-01-31",
        "2026-02-01",
        "2026-02-02",
    ]


@pytest.mark.parametrize(
    "query",
    ["?days=x", "?days=0", "?days=-5", "?days=99999999999", "?from=2026-13-01", "?to=x"]
    + ["?from=2026-02-02&to=2026-02-01", "?from=1000-01-01", "?from=&to="],
)
def test_a_range_that_makes_no_sense_is_the_last_thirty_days(staff: Staff, query: str) -> None:
    assert board(staff("support"), query)["days"].length == 30


@pytest.mark.django_db(transaction=True)
def test_the_fullest_quotas_come_first_and_lead_to_their_organisation(staff: Staff) -> None:
    full, near, calm = make_org(included=10), make_org(included=10), make_org(included=10)
    full.use(10)
    near.use(8)
    calm.use(7)

    response = staff("support").get("/admin/")

    rows = response.context["dashboard"]["near"]
    assert [(row.org_id, row.percent) for row in rows] == [(full.id, 100), (near.id, 80)]
    assert f'/admin/organisations/{full.id}/"' in response.content.decode()
    assert "100 %, spent" in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_counter_whose_units_were_all_taken_away_is_no_fault(staff: Staff) -> None:
    org = make_org(included=10)
    org.use(1)
    UsageCounter.objects.filter(org_id=org.id).update(adjusted=-20)

    assert board(staff("support"))["near"] == []


@pytest.mark.django_db(transaction=True)
def test_trials_that_end_this_week_and_states_are_counted(staff: Staff) -> None:
    now = clock.now()
    soon = make_org(status="trialing", trial_ends_at=now + timedelta(days=2))
    make_org(status="trialing", trial_ends_at=now + timedelta(days=9))
    make_org(status="past_due")

    shown = board(staff("support"))

    assert [trial.org_id for trial in shown["trials"]] == [soon.id]
    assert {one.status: one.count for one in shown["statuses"]} == {"trialing": 2, "past_due": 1}
    assert shown["sign_ups"].total == 3


@pytest.mark.parametrize(
    ("age", "state"), [(5, "good"), (90, "look"), (3600, "bad")], ids=["fresh", "slow", "stuck"]
)
def test_webhooks_that_wait_are_told(staff: Staff, age: int, state: str) -> None:
    webhook("pending", age=timedelta(seconds=age))

    found = light(staff("support"), "Webhooks")

    assert found.state == state
    assert "1 waiting" in found.sentence


def test_a_parked_event_asks_for_an_act_and_leads_to_it(staff: Staff) -> None:
    client = staff("support")
    assert light(client, "Parked events").state == "good"

    webhook("parked", age=timedelta(hours=5))

    found = light(client, "Parked events")
    assert (found.state, found.state.word) == ("bad", "Act")
    assert "5 hours ago" in found.sentence
    assert client.get(found.url).context["cl"].result_count == 1


def test_drift_is_told_until_it_is_gone(staff: Staff) -> None:
    now = clock.now()
    CounterCheck.objects.create(
        checked_at=now, counters=5, drifted_at=now, drift="counted is 5, its rows say 4"
    )
    client = staff("support")

    found = light(client, "Counters")

    assert (found.state, "its rows say 4" in found.sentence) == ("bad", True)
    CounterCheck.objects.update(drifted_at=None, drift="", proven_at=now)
    assert light(client, "Counters").state == "good"


def test_a_worker_that_is_silent_is_told(staff: Staff) -> None:
    CounterCheck.objects.create(checked_at=clock.now() - timedelta(minutes=30), counters=5)
    DailyTotal.objects.create(
        metric="api_call",
        day=clock.now().date(),
        used=0,
        events=0,
        organisations=0,
        computed_at=clock.now() - timedelta(minutes=30),
    )
    client = staff("support")

    assert light(client, "Worker and beat").state == "bad"
    assert light(client, "Use by day").state == "look"


def test_a_plan_change_that_is_stuck_is_told(staff: Staff) -> None:
    then = clock.now() - timedelta(hours=1)
    Operation.objects.create(
        uuid="00000000-0000-0000-0000-000000000001",
        kind=Operation.Kind.UPGRADE,
        org_id="org_X",
        request={},
        lease_until=then,
        created_at=then,
    )

    assert light(staff("support"), "Plan changes").state == "look"


def test_what_stripe_lists_and_nobody_compared_is_told(staff: Staff) -> None:
    client = staff("support")
    assert light(client, "Stripe's list").state == "look"

    now = clock.now()
    EventCoverage.objects.create(pk=1, covered_to=now - timedelta(minutes=9), lease_until=now)

    assert light(client, "Stripe's list").state == "good"


def test_a_valkey_that_is_away_is_told(staff: Staff) -> None:
    client = staff("support")
    assert light(client, "Valkey").state == "good"

    with no_valkey():
        assert light(client, "Valkey").state == "bad"


@pytest.mark.django_db(transaction=True)
def test_a_moved_clock_is_told(staff: Staff) -> None:
    clock.set_offset(3 * 86_400)

    assert "3 days ahead" in board(staff("support"))["clock_note"]


def test_every_chart_has_its_numbers_as_a_table(staff: Staff) -> None:
    DailyTotal.objects.create(
        metric="api_call",
        day=clock.now().date(),
        used=1_234_567,
        events=3,
        organisations=1,
        computed_at=clock.now(),
    )
    assert not DailyUsage.objects.exists()

    html = staff("support").get("/admin/").content.decode()

    assert html.count("<canvas") == html.count("The numbers as a table") == 3
    assert '<td class="mg-right">1,234,567</td>' in html
