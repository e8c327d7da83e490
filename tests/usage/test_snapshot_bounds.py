"""Comparing counters holds no snapshot open for long."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from config.contract import clock, metrics
from quotas.models import UsageCounter
from tests.support.cast import Org, make_org
from tests.support.database import superuser
from usage import books, reconcile
from usage.tasks import sample_counters

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def reading_takes_for_ever() -> Iterator[None]:
    """Whoever reads an event waits until the block ends, or for as long as it may wait."""
    with superuser(str(connection.settings_dict["NAME"])) as other, other.transaction():
        other.execute("LOCK TABLE usage_usageevent IN ACCESS EXCLUSIVE MODE")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
        yield
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")


def test_a_sample_passes_over_books_that_take_too_long(
    org: Org, stranger: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_SAMPLE_SECONDS", 0.2)
    before = metrics.SAMPLES_SKIPPED._value.get()

    with reading_takes_for_ever():
        sample_counters()

    assert metrics.SAMPLES_SKIPPED._value.get() == before + 2
    monkeypatch.setattr(reconcile, "_SAMPLE_SECONDS", 30.0)
    whole = reconcile.sample(now=clock.now(), organisations=10)
    assert (whole.skipped, whole.organisations, whole.drifts) == (0, 2, [])


def test_a_sample_begins_nothing_more_once_its_time_is_over(
    org: Org, stranger: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_SAMPLES_SECONDS", -1.0)

    assert reconcile.sample(now=clock.now(), organisations=10).organisations == 0


def test_books_are_read_whole_unless_their_time_is_bounded(org: Org) -> None:
    org.use(5)

    [read] = books.read([org.id], closed_too=True).events.values()

    assert read.units == 5
    with pytest.raises(books.TookTooLong):
        books.read([org.id], closed_too=True, seconds=0)


def test_pages_that_take_long_become_smaller_and_none_is_left_out(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        make_org()
    monkeypatch.setattr(reconcile, "_PAGE", 4)
    monkeypatch.setattr(reconcile, "_PAGE_SECONDS", 0.0)

    totals = [done.organisations for done in reconcile.reconcile(now=clock.now())]

    # Yielded after each page, and once more at the end: the same running totals.
    assert len(totals) == 1 + len([4, 2, 1])
    assert totals[-1] == 7
    whole = list(reconcile.reconcile(now=clock.now()))[-1]
    assert (whole.counters, whole.drifts) == (UsageCounter.objects.count(), [])
