"""Nobody hears of what is not committed: the copy is published after, by whoever writes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import pytest

from config.contract import clock
from config.contract.clients import clients
from quotas import counters, snapshots
from quotas.models import UsageCounter
from quotas.rollover import roll_over
from quotas.snapshots import CounterSnapshot
from tests.races.interleave import commits_held, in_thread, wait_until_blocked
from tests.support import counter_writers as writers
from tests.support.cast import Org, make_org
from tests.support.counter_writers import Writer
from tokens import access, families, suspension
from tokens.access import AuthSummary
from usage import ledger
from usage.ledger import NewUsageEvent

pytestmark = pytest.mark.django_db(transaction=True)


def record(org: Org, now: datetime, request_id: str = "r") -> None:
    """Count one use."""
    event = NewUsageEvent("api_call", 1, now, request_id)
    [outcome] = ledger.record(org_id=org.id, events=[event], now=now)
    assert outcome.status == "accepted"


def open_next(org: Org, now: datetime) -> None:
    """Open the period after the running one, as its first touch does."""
    then = counter_at(org, now).period_end
    counters.open_periods(org_id=org.id, wanted=[("api_call", then)], now=then)


def roll_ahead(org: Org, now: datetime) -> None:
    """Open the period after the running one, as the rollover does."""
    list(roll_over(now=counter_at(org, now).period_end, org_ids=[org.id]))


def counter_at(org: Org, at: datetime) -> UsageCounter:
    return UsageCounter.objects.get(
        org_id=org.id, metric="api_call", period_start__lte=at, period_end__gt=at
    )


def newest(org: Org) -> CounterSnapshot:
    """Return the snapshot of the newest counter's row."""
    row = UsageCounter.objects.filter(org_id=org.id, metric="api_call").latest("period_start")
    return snapshots.of_row(row, epoch=1)


def in_the_copy(org: Org) -> CounterSnapshot | None:
    return snapshots.from_copy(clients.copy.read(org.id), "api_call")


@pytest.mark.parametrize(
    "write",
    [
        record,
        open_next,
        roll_ahead,
        writers.derive,
        writers.raise_limit,
        writers.adjust,
        writers.forgive,
        writers.void,
        writers.mend,
    ],
    ids=lambda write: write.__name__,
)
def test_the_copy_says_nothing_of_a_counter_before_its_commit(
    transactional_db: None, write: Writer
) -> None:
    now = clock.now()
    org = make_org(now=now, included=20)
    record(org, now, writers.VOIDED)
    if write is writers.mend:
        writers.put_wrong(org)
    before = in_the_copy(org)
    assert before is not None
    with commits_held("quotas_usagecounter") as release:
        writing = in_thread(partial(write, org, now))
        wait_until_blocked()

        assert in_the_copy(org) == before

        release()
        writing.result(5)
    assert in_the_copy(org) == newest(org) != before


def revoke(org: Org, now: datetime) -> None:
    """End one family."""
    families.revoke_family(org_id=org.id, family_id=org.tokens.family.id, who="w", now=now)


def revoke_by_its_token(org: Org, now: datetime) -> None:
    """End the family of a refresh token."""
    families.revoke_by_token(token=org.tokens.refresh_token, now=now)


def revoke_all(org: Org, now: datetime) -> None:
    """End every family."""
    families.revoke_all(org_id=org.id, who="w", now=now)


def suspend(org: Org, now: datetime) -> None:
    """Lock the organisation out."""
    suspension.suspend(org_id=org.id, reason="r", who="w", now=now)


@pytest.mark.parametrize(
    "write", [revoke, revoke_by_its_token, revoke_all, suspend], ids=lambda write: write.__name__
)
def test_the_copy_says_nothing_of_a_revocation_before_its_commit(
    org: Org, write: Callable[[Org, datetime], None]
) -> None:
    before = access.summary(org.id, None)
    access.publish(org.id)
    with commits_held("tokens_orgaccess") as release:
        writing = in_thread(partial(write, org, clock.real_now() + timedelta(seconds=1)))
        wait_until_blocked()

        assert summary_in_the_copy(org) == before

        release()
        writing.result(5)
    after = summary_in_the_copy(org)
    assert after is not None
    assert after.suspended or org.tokens.family.id in after.revoked


def summary_in_the_copy(org: Org) -> AuthSummary | None:
    return access.summary(org.id, clients.copy.read(org.id))
