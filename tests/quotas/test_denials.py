"""Denials are written down: by counter, version, code and minute, and by each request's ids."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from pytest_django import Settings

from config.contract.clients import clients
from quotas import denial_book, denial_rows
from quotas.denial_book import book
from quotas.denial_models import Denial, DeniedRequest
from quotas.models import Entitlement, UsageCounter
from tests.contract.capture import logged
from tests.contract.outages import no_database
from tests.support.cast import Org, make_org

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
IDS = {"x-request-id": "r-1", "x-correlation-id": "c-1"}


@pytest.fixture
def noon() -> Iterator[time_machine.Traveller]:
    """Half a minute past noon of a day, standing still."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def asked(org: Org, value: int, request_id: str = "r-1", correlation_id: str = "c-1") -> None:
    headers = {"x-request-id": request_id, "x-correlation-id": correlation_id}
    body = {"orgId": org.id, "metric": "api_call", "value": value}
    assert org.post("/api/quota/check", body, **headers).status_code in (402, 429)


def test_a_denied_check_is_written_down_with_its_numbers(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    org.use(8)

    asked(org, 3)
    book.flush()

    denial = Denial.objects.get()
    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")
    assert (denial.org_id, denial.metric, denial.code) == (org.id, "api_call", "RATE_LIMITED")
    assert (denial.used, denial.included, denial.remaining) == (8, 10, 2)
    assert (denial.period_key, denial.counter_version) == ("2026-11", counter.version)
    assert (denial.minute, denial.count) == (NOW.replace(second=0), 1)
    assert (denial.first_request_id, denial.last_correlation_id) == ("r-1", "c-1")
    request = DeniedRequest.objects.get()
    assert (request.denial, request.value, request.door) == (denial, 3, "check")
    assert (request.request_id, request.correlation_id, request.at) == ("r-1", "c-1", NOW)


def test_denials_of_a_minute_are_one_row_that_knows_the_first_and_the_last(
    noon: time_machine.Traveller,
) -> None:
    org = make_org(included=10, now=NOW)
    asked(org, 11, "r-1", "c-1")
    noon.shift(10)
    asked(org, 12, "r-2", "c-2")
    book.flush()
    noon.shift(10)
    asked(org, 13, "r-3", "c-3")
    book.flush()

    denial = Denial.objects.get()
    assert denial.count == 3
    assert (denial.first_at, denial.last_at) == (NOW, NOW + timedelta(seconds=20))
    assert (denial.first_request_id, denial.first_correlation_id) == ("r-1", "c-1")
    assert (denial.last_request_id, denial.last_correlation_id) == ("r-3", "c-3")
    kept = DeniedRequest.objects.order_by("at").values_list("request_id", "value")
    assert list(kept) == [("r-1", 11), ("r-2", 12), ("r-3", 13)]


def test_another_minute_or_version_is_another_row(noon: time_machine.Traveller) -> None:
    org = make_org(included=10, now=NOW)
    asked(org, 11)
    org.use(1)
    asked(org, 11)
    noon.shift(60)
    asked(org, 11)
    book.flush()

    found = {(one.minute, one.counter_version) for one in Denial.objects.all()}
    assert len(found) == 3


def test_a_denied_use_is_found_by_the_id_the_client_gave_it(noon: object) -> None:
    org = make_org(included=10, now=NOW)

    assert org.use(11, request_id="use-1").status_code == 429
    book.flush()

    request = DeniedRequest.objects.known_as("use-1").get()
    assert (request.use_id, request.door, request.value) == ("use-1", "usage", 11)
    assert request.denial.counter_version == UsageCounter.objects.get(metric="api_call").version


def test_each_denied_event_of_a_batch_is_written_down(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    event = {"metric": "api_call", "occurredAt": NOW.isoformat()}
    events = [
        {**event, "request_id": name, "value": value}
        for name, value in (("a", 6), ("b", 6), ("c", 4), ("d", 1))
    ]

    org.post("/api/v1/usage/batch", {"orgId": org.id, "events": events}, **IDS)
    book.flush()

    denial = Denial.objects.get()
    assert (denial.count, denial.used) == (2, 10)
    assert {one.use_id for one in DeniedRequest.objects.known_as("c-1")} == {"b", "d"}


def test_where_nothing_was_ever_granted_the_row_has_no_counter(noon: object) -> None:
    org = make_org(now=NOW)
    Entitlement.objects.filter(org_id=org.id).delete()
    UsageCounter.objects.filter(org_id=org.id).delete()
    clients.copy.forget(org.id)
    for _ in range(2):
        asked(org, 1)
        assert org.use(1).status_code == 402
        book.flush()

    denial = Denial.objects.get()
    assert (denial.code, denial.count) == ("PAYMENT_REQUIRED", 4)
    assert (denial.period_start, denial.used, denial.remaining) == (None, None, None)


def test_a_canceled_organisation_leaves_a_row_with_its_numbers(noon: object) -> None:
    org = make_org(included=10, status="canceled", now=NOW)

    assert org.check(1, soft=True).status_code == 200
    assert org.use(1).status_code == 402
    book.flush()

    denial = Denial.objects.get()
    assert (denial.code, denial.used, denial.included) == ("PAYMENT_REQUIRED", 0, 10)
    assert denial.count == 2


def test_what_is_allowed_or_answered_again_is_no_denial(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    org.check(10)
    org.use(10, request_id="use-1")
    org.use(10, request_id="use-1")
    org.use(9, request_id="use-1")
    book.flush()

    assert not Denial.objects.exists()


def test_of_a_storm_the_row_counts_all_and_keeps_the_ids_of_the_first(
    noon: object, settings: Settings
) -> None:
    settings.DENIAL_REQUESTS = 3
    org = make_org(included=0, now=NOW)
    for number in range(5):
        asked(org, 1, f"r-{number}", f"c-{number}")
        if number % 2:
            book.flush()
    book.flush()

    assert Denial.objects.get().count == 5
    kept = DeniedRequest.objects.values_list("request_id", flat=True)
    assert sorted(kept) == ["r-0", "r-1", "r-2"]


def test_the_line_of_a_denial_carries_the_numbers_also_where_it_is_a_200(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    with logged() as log:
        asked(org, 11)
        org.check(12, soft=True)
        org.use(10)

    told = [line for line in log.lines if line["event"] == "request"]
    assert [line.get("denial", {}).get("value") for line in told] == [11, 12]
    assert told[0]["correlation_id"] == "c-1"
    assert told[0]["denial"] == {
        "times": 1,
        "code": "RATE_LIMITED",
        "metric": "api_call",
        "value": 11,
        "used": 0,
        "included": 10,
        "period": "2026-11",
        "counter_version": UsageCounter.objects.get(metric="api_call").version - 1,
        "decided_by": "database",
    }


def test_a_request_leaves_its_denial_to_nobody_after_it(noon: object) -> None:
    org = make_org(included=10, now=NOW)
    asked(org, 11)

    with logged() as log:
        org.get("/api/me/entitlements")

    assert "denial" not in json.dumps(log.lines)


def test_denials_outlive_an_outage_of_the_database(noon: time_machine.Traveller) -> None:
    org = make_org(included=10, now=NOW)
    asked(org, 11)
    with no_database():
        assert not book.flush()
    noon.shift(5)
    asked(org, 12, "r-2", "c-2")

    assert book.flush()

    denial = Denial.objects.get()
    assert (denial.count, denial.first_request_id, denial.last_request_id) == (2, "r-1", "r-2")
    assert DeniedRequest.objects.count() == 2


def test_what_no_longer_fits_is_counted_and_told(
    noon: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denial_book, "MOST_KEYS", 1)
    first, second = make_org(included=0, now=NOW), make_org(included=0, now=NOW)
    asked(first, 1)
    asked(second, 1)

    with logged() as log:
        book.flush()

    assert Denial.objects.get().org_id == first.id
    assert [line["denials"] for line in log.lines if line["event"] == "denials_dropped"] == [1]


def test_a_thread_writes_soon_and_ends(settings: Settings) -> None:
    settings.DENIAL_FLUSH = 0.01
    org = make_org(included=0)

    asked(org, 1)
    writer = book._writer
    assert writer is not None
    writer.join(10)

    assert Denial.objects.get().count == 1
    assert book._writer is None


def test_old_denials_are_forgotten_with_their_requests(
    noon: time_machine.Traveller, settings: Settings
) -> None:
    org = make_org(included=0, now=NOW)
    asked(org, 1, "old")
    noon.shift(120)
    asked(org, 1, "new")
    book.flush()

    after_a_minute = NOW + timedelta(days=settings.DENIAL_DAYS, minutes=1)
    forgotten = denial_rows.forget(now=after_a_minute)

    assert forgotten == 1
    assert [one.request_id for one in DeniedRequest.objects.all()] == ["new"]
