"""POST /api/v1/usage/batch: decided in input order, each bad event alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.contract import clock
from config.contract.clients import clients
from quotas.models import UsageCounter
from tests.races.ledger import copy_equals_truth
from tests.support.cast import Org, data, error, make_org
from usage import ledger
from usage.ledger import NewUsageEvent
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)


def event(request_id: Any, value: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "metric": "api_call",
        "value": value,
        "occurredAt": clock.real_now().isoformat(),
        "request_id": request_id,
        **more,
    }


def send(org: Org, *events: Any) -> Any:
    return org.post("/api/v1/usage/batch", {"orgId": org.id, "events": list(events)})


def statuses(answer: Any) -> list[str]:
    return [result["status"] for result in answer["results"]]


def used(org: Org, metric: str = "api_call") -> int:
    return UsageCounter.objects.get(org_id=org.id, metric=metric).used


def test_each_event_is_answered_as_if_sent_alone_in_input_order(org: Org) -> None:
    answer = data(send(org, event("b", 3), event("a", 4), event("c", 5)))

    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (3, 0, 0)
    assert [result["request_id"] for result in answer["results"]] == ["b", "a", "c"]
    assert [result["used"] for result in answer["results"]] == [3, 7, 12]
    assert [result["remaining"] for result in answer["results"]] == [9997, 9993, 9988]
    assert used(org) == 12
    assert copy_equals_truth(clients.copy, UsageCounter.objects.get(metric="api_call"))


def test_a_later_smaller_event_may_still_fit(transactional_db: None) -> None:
    org = make_org(included=10)

    answer = data(send(org, event("a", 8), event("b", 5), event("c", 2), event("d", 1)))

    assert statuses(answer) == ["accepted", "rejected", "accepted", "rejected"]
    assert answer["results"][1]["error"]["code"] == "RATE_LIMITED"
    assert used(org) == 10


def test_a_whole_batch_that_is_refused_is_still_200(transactional_db: None) -> None:
    org = make_org(included=1)

    response = send(org, event("a", 2), event("b", 3))

    assert response.status_code == 200
    assert data(response)["rejected"] == 2
    assert not UsageEvent.objects.exists()


def test_a_batch_sent_again_is_all_duplicates_with_the_same_numbers(org: Org) -> None:
    events = [event("a", 3), event("b", 4)]
    first = data(send(org, *events))
    org.use(100)

    again = data(send(org, *events))

    assert (again["accepted"], again["duplicates"]) == (0, 2)
    for before, after in zip(first["results"], again["results"], strict=True):
        assert after == {**before, "status": "duplicate"}
    assert used(org) == 107


def test_the_same_id_twice_inside_is_accepted_and_then_a_duplicate(org: Org) -> None:
    twice = event("a", 3)

    answer = data(send(org, twice, event("b"), twice))

    assert statuses(answer) == ["accepted", "accepted", "duplicate"]
    assert answer["results"][2]["used"] == answer["results"][0]["used"] == 3
    assert used(org) == 4


def test_the_same_id_with_other_content_inside_is_a_conflict(org: Org) -> None:
    answer = data(send(org, event("a", 3), event("a", 4)))

    assert statuses(answer) == ["accepted", "rejected"]
    assert answer["results"][1]["error"]["code"] == "REQUEST_ID_CONFLICT"
    assert used(org) == 3


def test_an_id_that_was_refused_may_be_tried_again_in_the_same_batch(
    transactional_db: None,
) -> None:
    org = make_org(included=5)

    answer = data(send(org, event("a", 6), event("a", 5)))

    assert statuses(answer) == ["rejected", "accepted"]
    assert used(org) == 5


def test_several_metrics_and_a_repeat_of_a_single_event_mix(org: Org) -> None:
    at = clock.now().isoformat()
    org.use(7, request_id="single", occurredAt=at)

    answer = data(
        send(
            org,
            event("x", 50, metric="compute_ms"),
            event("single", 7, occurredAt=at),
            event("y", 1),
        )
    )

    assert statuses(answer) == ["accepted", "duplicate", "accepted"]
    assert [result["used"] for result in answer["results"]] == [50, 7, 8]
    assert (used(org), used(org, "compute_ms")) == (8, 50)


@pytest.mark.parametrize(
    ("bad", "shown_id"),
    [
        (event("x", 0), "x"),
        (event("x", -1), "x"),
        (event("x", 10**9 + 1), "x"),
        (event("x", 1.0), "x"),
        (event("x", "1"), "x"),
        (event("x", True), "x"),
        (event("x", metric="unheard_of"), "x"),
        (event("x", metric=""), "x"),
        (event("x", occurredAt="2026-03-10T09:00:00"), "x"),
        (event("x", occurredAt="yesterday"), "x"),
        (event("x", occurredAt=None), "x"),
        (event("x", colour="blue"), "x"),
        (event("x", orgId="org_x"), "x"),
        (event(""), ""),
        (event("x" * 129), None),
        (event(7), None),
        ({"request_id": "x"}, "x"),
        ({}, None),
        ("x", None),
        (None, None),
        ([], None),
    ],
)
def test_a_bad_event_rejects_itself_alone(org: Org, bad: Any, shown_id: str | None) -> None:
    answer = data(send(org, event("first"), bad, event("last")))

    assert statuses(answer) == ["accepted", "rejected", "accepted"]
    rejected = answer["results"][1]
    assert rejected["error"]["code"] == "VALIDATION_ERROR"
    assert rejected["request_id"] == shown_id
    assert set(rejected) == {"request_id", "status", "error"}
    assert used(org) == UsageEvent.objects.count() == 2


def test_events_outside_the_window_reject_themselves(org: Org) -> None:
    now = clock.now()
    early = event("early", occurredAt=(now + timedelta(minutes=6)).isoformat())
    late = event("late", occurredAt=(now - timedelta(days=90)).isoformat())

    answer = data(send(org, early, event("good"), late))

    assert statuses(answer) == ["rejected", "accepted", "rejected"]
    assert used(org) == 1


def test_without_a_subscription_each_event_is_refused_with_402s_code(
    transactional_db: None,
) -> None:
    org = make_org(status="canceled")

    answer = data(send(org, event("a"), event("b")))

    assert [result["error"]["code"] for result in answer["results"]] == ["PAYMENT_REQUIRED"] * 2


@pytest.mark.parametrize("many", [0, 1001])
def test_none_or_too_many_events_are_refused_as_a_whole(org: Org, many: int) -> None:
    response = send(org, *[event(f"r-{n}") for n in range(many)])

    assert response.status_code == 400
    assert list(error(response)["details"]["fields"]) == ["events"]
    assert not UsageEvent.objects.exists()


def test_a_thousand_events_are_counted_in_one_call(org: Org) -> None:
    answer = data(send(org, *[event(f"r-{n}") for n in range(1000)]))

    assert answer["accepted"] == 1000
    assert [result["used"] for result in answer["results"]] == list(range(1, 1001))
    assert used(org) == 1000


def test_a_batch_for_another_organisation_is_refused_as_a_whole(org: Org, stranger: Org) -> None:
    response = org.post("/api/v1/usage/batch", {"orgId": stranger.id, "events": [event("a")]})

    assert (response.status_code, error(response)["code"]) == (403, "TENANT_MISMATCH")
    assert not UsageEvent.objects.exists()


def test_the_first_batch_of_a_period_opens_each_metric_once_not_for_each_event(org: Org) -> None:
    clock.set_offset(timedelta(days=40).total_seconds())
    now = clock.now()
    events = [
        event(
            f"r{n}",
            metric="compute_ms" if n % 2 else "api_call",
            occurredAt=(now - timedelta(microseconds=n)).isoformat(),
        )
        for n in range(1_000)
    ]

    with CaptureQueriesContext(connection) as captured:
        answer = data(send(org, *events))

    assert answer["accepted"] == 1_000
    statements = [one["sql"] for one in captured if "quotas_usagecounter" in one["sql"]]
    inserts = [one for one in statements if one.startswith("INSERT")]
    assert len(inserts) == 2
    # Besides: the organisation's latest instant, one look at what is there, one publish.
    assert len(statements) <= len(inserts) + 3


def test_a_batch_that_opens_both_the_past_period_and_the_running_one_is_counted_in_each(
    transactional_db: None,
) -> None:
    began = datetime(2026, 3, 6, 10, tzinfo=UTC)
    org = make_org(now=began, anchor_at=began, period_rule="billing_month", included=1_000)
    now = datetime(2026, 5, 6, 10, 5, tzinfo=UTC)
    instants = [now - timedelta(minutes=n) for n in range(10)]
    events = [NewUsageEvent("api_call", 1, at, f"r{n}") for n, at in enumerate(instants)]

    outcomes = ledger.record(org_id=org.id, events=events, now=now)

    assert {one.status for one in outcomes} == {"accepted"}
    rows = UsageCounter.objects.filter(org_id=org.id, metric="api_call").order_by("period_start")
    assert [(row.period_key, row.used) for row in rows][1:] == [
        ("2026-04-06", 4),
        ("2026-05-06", 6),
    ]
