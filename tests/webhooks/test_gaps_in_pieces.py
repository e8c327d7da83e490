"""A day of events is more than one run can list: each run goes on where the last one stopped."""

import os
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from billing.stripe_gateway import StripeGateway
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import Unavailable
from tests.contract.capture import logged
from tests.sandbox.server import Control
from webhooks import gaps, tasks
from webhooks.models import EventCoverage, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86_400
#: One of each stream: Stripe takes twenty types in one question.
TYPES = ("customer.subscription.updated", "subscription_schedule.updated")


class Tired:
    """The gateway of a Stripe that goes away after so many pages that follow another one."""

    def __init__(self, gateway: StripeGateway, pages: int) -> None:
        self._gateway = gateway
        self._left = pages
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._gateway, name)
        if name != "list_events":
            return real

        def list_events(**asked: Any) -> Any:
            self.calls += 1
            self._left -= asked.get("ending_before") is not None
            if self._left < 0:
                raise Unavailable
            return real(**asked)

        return list_events


def make_events(count: int, *, seconds: int, ending: int) -> list[str]:
    """Let Stripe have made many events, evenly over `seconds`; returns their ids, oldest first.

    Their objects exist nowhere: here they are only taken in.
    """
    schema = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(os.environ["SANDBOX_DATABASE_URL"]) as connection:
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        rows = connection.execute(
            """
            INSERT INTO objects (id, object, data)
            SELECT 'evt_bulk_' || n, 'event', jsonb_build_object(
                'id', 'evt_bulk_' || n, 'object', 'event', 'livemode', false,
                'api_version', '2026-10-28.endive', 'type', (%(types)s::text[])[1 + n %% 2],
                'created', %(first)s + n * %(seconds)s::bigint / %(count)s,
                'data', jsonb_build_object('object', jsonb_build_object('id', 'sub_' || n)))
              FROM generate_series(0, %(count)s - 1) AS n ORDER BY n
            RETURNING id, seq
            """,
            {
                "types": list(TYPES),
                "first": ending - seconds,
                "seconds": seconds,
                "count": count,
            },
        ).fetchall()
    return [row[0] for row in sorted(rows, key=lambda row: int(row[1]))]


def inbox() -> set[str]:
    return set(WebhookEvent.objects.values_list("event_id", flat=True))


def covered_to() -> datetime:
    found = EventCoverage.objects.get().covered_to
    assert found is not None
    return found


def in_runs_of(pages: int, gateway: StripeGateway) -> int:
    """Fill, a few pages at a time, until all is compared; returns how many runs that took."""
    for run in range(1, 200):
        with clients.swapped("stripe", Tired(gateway, pages)):
            try:
                filled = gaps.fill(now=clock.now())
            except Unavailable:
                continue
        if filled is not None and filled.complete:
            return run
    raise AssertionError("it never gets through")


def test_runs_that_are_cut_short_get_through_a_day_in_few_pages(
    sandbox: Control, gateway: StripeGateway
) -> None:
    made = make_events(3000, seconds=DAY, ending=sandbox.now())

    runs = in_runs_of(8, gateway)

    assert inbox() >= set(made)
    # 30 pages of events, two of them found by halving, and then the overlap once more.
    assert runs <= 5


def test_what_is_oldest_is_taken_in_first_and_the_row_says_how_far(
    sandbox: Control, gateway: StripeGateway
) -> None:
    made = make_events(1000, seconds=DAY, ending=sandbox.now())

    with clients.swapped("stripe", Tired(gateway, 3)), pytest.raises(Unavailable):
        gaps.fill(now=clock.now())

    taken = [event_id for event_id in made if event_id in inbox()]
    rows = WebhookEvent.objects.filter(event_id__in=taken)
    assert 100 <= len(taken) < 1000
    # Two streams of one page each may be ahead of one another.
    assert set(made[: len(taken) - 200]) <= set(taken) <= set(made[: len(taken) + 200])
    assert covered_to() <= max(row.created_at for row in rows)
    before = [row.event_id for row in WebhookEvent.objects.filter(created_at__lt=covered_to())]
    all_before = int((covered_to().timestamp() - (sandbox.now() - DAY)) * 1000 / DAY) - 1
    assert set(made[:all_before]) <= set(before)


def test_runs_whose_time_is_over_after_a_page_or_two_get_through(sandbox: Control) -> None:
    made = make_events(1000, seconds=DAY, ending=sandbox.now())

    runs = 0
    while True:
        filled = gaps.fill(now=clock.now(), seconds=0.05)
        runs += 1
        assert filled is not None
        if filled.complete:
            break
        assert runs < 1000

    assert runs > 1
    assert inbox() >= set(made)


def test_a_page_and_its_cursor_are_committed_together(
    sandbox: Control, gateway: StripeGateway
) -> None:
    make_events(1000, seconds=DAY, ending=sandbox.now())
    with clients.swapped("stripe", Tired(gateway, 3)), pytest.raises(Unavailable):
        gaps.fill(now=clock.now())
    known = len(inbox())

    filled = gaps.fill(now=clock.now())

    # Nothing that was read is read again, but for the overlap of the round that follows.
    assert filled is not None
    assert filled.taken_in == len(inbox()) - known
    assert EventCoverage.objects.get().progress is None


@pytest.mark.parametrize("broken", ["evt_that_stripe_forgot", "", "x" * 300])
def test_a_cursor_that_stripe_does_not_know_falls_back_to_the_time_it_stands_for(
    sandbox: Control, gateway: StripeGateway, broken: str
) -> None:
    made = make_events(1000, seconds=DAY, ending=sandbox.now())
    with clients.swapped("stripe", Tired(gateway, 3)), pytest.raises(Unavailable):
        gaps.fill(now=clock.now())
    coverage = EventCoverage.objects.get()
    assert coverage.progress is not None
    for read in coverage.progress["read"].values():
        read["after"] = broken
    coverage.save()

    filled = gaps.fill(now=clock.now())

    assert filled is not None
    assert filled.complete
    assert inbox() >= set(made)


@pytest.mark.parametrize("progress", [{}, {"until": "nonsense", "read": {}}, [], {"read": 1}, "x"])
def test_progress_that_makes_no_sense_begins_anew(sandbox: Control, progress: Any) -> None:
    made = make_events(200, seconds=DAY, ending=sandbox.now())
    EventCoverage.objects.create(lease_until=clock.real_now(), progress=progress)

    filled = gaps.fill(now=clock.now())

    assert filled is not None
    assert filled.complete
    assert inbox() >= set(made)


def test_more_than_a_page_of_events_in_one_second_is_taken_in(sandbox: Control) -> None:
    made = make_events(700, seconds=1, ending=sandbox.now() - 3600)

    filled = gaps.fill(now=clock.now())

    assert filled is not None
    assert filled.complete
    assert inbox() >= set(made)


def test_a_run_whose_time_was_over_is_no_success_in_the_log(
    sandbox: Control, gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_events(1000, seconds=DAY, ending=sandbox.now())
    with clients.swapped("stripe", Tired(gateway, 3)), pytest.raises(Unavailable):
        gaps.fill(now=clock.now())
    monkeypatch.setattr(tasks, "_RUN_SECONDS", 0.0)

    with logged() as log:
        tasks.fill_gaps()

    assert [line["level"] for line in log.lines if line["event"] == "webhook_gaps_unfinished"] == [
        "warning"
    ]
    assert covered_to() < clock.now()
    assert "not finished" in str(EventCoverage.objects.get())


@pytest.mark.torture
def test_a_day_of_33_000_events_is_taken_in(sandbox: Control, gateway: StripeGateway) -> None:
    made = make_events(33_000, seconds=DAY, ending=sandbox.now())
    counting = Tired(gateway, 10**9)

    with clients.swapped("stripe", counting):
        while True:
            filled = gaps.fill(now=clock.now(), seconds=60.0)
            assert filled is not None
            if filled.complete:
                break

    assert inbox() >= set(made)
    # At 0.3 s a page these are two runs of a minute.
    assert counting.calls <= 400
