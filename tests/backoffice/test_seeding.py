"""Made-up customers: as many as asked, and their books agree."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from billing.models import Organization
from config.contract import clock
from quotas.models import UsageCounter
from usage.models import DailyUsage, UsageEvent
from usage.reconcile import reconcile

pytestmark = pytest.mark.django_db(transaction=True)


def test_made_up_books_agree_with_their_ledger() -> None:
    call_command("seed_demo", "--organisations", "60", "--events", "900", stdout=StringIO())
    call_command("seed_demo", "--organisations", "20", "--events", "100", stdout=StringIO())

    *_, done = reconcile(now=clock.now())

    assert (Organization.objects.count(), UsageEvent.objects.count()) == (80, 1000)
    assert done.drifts == []
    assert done.counters == UsageCounter.objects.count() > 60
    assert DailyUsage.objects.exists()


def test_there_are_no_made_up_customers_in_production(settings: Settings) -> None:
    settings.EMBEDDED = False

    with pytest.raises(CommandError, match="embedded"):
        call_command("seed_demo")
