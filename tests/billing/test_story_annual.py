"""A customer who pays by the year, from one leap day to the next."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pytest_django.live_server_helper import LiveServer

from billing.overage import services as overage
from config.contract import clock
from tests.billing.agreement import Account, Terms, leap_year, opening, unix
from tests.billing.catalogues import BUSINESS_ANNUAL, PRO_ANNUAL
from tests.sandbox.server import Control
from tests.support.cast import data, error


@pytest.fixture
def acme(annual_plans: None, live_server: LiveServer, sandbox: Control) -> Iterator[Account]:
    """Somebody who signs up twelve days before the leap day, with a card."""
    at = datetime(leap_year(), 2, 17, 12, tzinfo=UTC)
    with opening(live_server, sandbox, at) as account:
        yield account


def test_years_that_begin_on_a_leap_day(acme: Account) -> None:
    a_trial_is_ended_by_paying_for_a_year(acme)
    a_dearer_year_and_its_overage(acme)
    back_to_the_smaller_year(acme)
    months_and_years_again(acme)
    four_years_on(acme)


def a_trial_is_ended_by_paying_for_a_year(acme: Account) -> None:
    acme.is_billed(0)
    leap_day = acme.on(2, 29)
    acme.reach(leap_day)
    data(acme.owner.use(2_000))
    preview = data(acme.owner.preview("pro_annual"))
    assert preview["amount"] == PRO_ANNUAL
    upgraded = acme.owner.upgrade("pro_annual", expectedAmount=PRO_ANNUAL)
    assert data(upgraded)["remaining"] == 98_000
    acme.is_billed(PRO_ANNUAL)
    begun = acme.mirror.billing_cycle_anchor
    assert begun is not None
    assert (begun - leap_day).total_seconds() < 60
    acme.anchor = begun
    acme.agrees(
        plan="pro_annual",
        status="active",
        price=PRO_ANNUAL,
        until=acme.on(2, 28, year=1),
        trial_ends_at=begun,
        used=2_000,
    )


def a_dearer_year_and_its_overage(acme: Account) -> None:
    # The units are there anew each month of the year that is paid.
    assert acme.anchor is not None
    on_pro: Terms = {
        "plan": "pro_annual",
        "status": "active",
        "price": PRO_ANNUAL,
        "until": acme.on(2, 28, year=1),
        "trial_ends_at": acme.anchor,
    }
    acme.reach(acme.on(11, 30))
    acme.agrees(**on_pro, used=0)
    data(acme.owner.use(60_000))

    # 73 of 365 days are left, a fifth.
    fifth = acme.on(12, 17)
    acme.reach(fifth)
    acme.agrees(**on_pro, used=0)
    answer = acme.owner.upgrade(
        "business_annual", prorationDate=unix(fifth), expectedAmount=-19_800 + 99_800
    )
    assert data(answer)["includedUnits"] == 1_000_000
    acme.is_billed(80_000)
    on_business: Terms = {**on_pro, "plan": "business_annual", "price": BUSINESS_ANNUAL}
    acme.agrees(**on_business, used=0)

    # December's overage is charged in January, not at the end of the year.
    assert data(acme.owner.use(1_000_200 + 60_000))["remaining"] == 0
    acme.reach(acme.on(1, 4, year=1))
    overage.charge_due(now=clock.now())
    acme.reach(acme.on(1, 4, year=1), hours=2)
    acme.is_billed(3_010)
    acme.agrees(**on_business, used=0, by_event=True)


def back_to_the_smaller_year(acme: Account) -> None:
    end = acme.on(2, 28, year=1)
    on_business: Terms = {
        "plan": "business_annual",
        "status": "active",
        "price": BUSINESS_ANNUAL,
        "until": end,
        "trial_ends_at": acme.anchor,
    }
    scheduled = data(acme.owner.downgrade("pro_annual"))
    assert datetime.fromisoformat(scheduled["effectiveAt"]) == end
    acme.agrees(**on_business, used=0, scheduled=("pro_annual", end))
    acme.reach(end, minutes=1)
    acme.answers("pro_annual", "active", included=1_000_000, used=0)
    acme.reach(end, hours=2)
    acme.is_billed(PRO_ANNUAL)
    on_pro: Terms = {
        **on_business,
        "plan": "pro_annual",
        "price": PRO_ANNUAL,
        "until": acme.on(2, 28, year=2),
    }
    acme.agrees(**on_pro, used=0, included=1_000_000, by_event=True)
    acme.reach(acme.on(3, 1, year=1))
    acme.agrees(**on_pro, used=0)


def months_and_years_again(acme: Account) -> None:
    # Pro by the month costs more a month: begun at once, with four fifths of the year
    # given back. What is left of that pays the months to come.
    change = acme.on(5, 12, year=1)
    acme.reach(change)
    assert error(acme.owner.downgrade("pro"))["code"] == "PLAN_CHANGE_CONFLICT"
    preview = data(acme.owner.preview("pro"))
    assert preview["amount"] == 0
    answer = acme.owner.upgrade("pro", prorationDate=unix(change), expectedAmount=0)
    assert data(answer)["remaining"] == 100_000
    acme.is_billed(9_900 - 79_200)
    begun = acme.mirror.billing_cycle_anchor
    assert begun is not None
    june, july = begun.replace(month=6), begun.replace(month=7)
    monthly: Terms = {
        "plan": "pro",
        "status": "active",
        "price": 9_900,
        "trial_ends_at": acme.anchor,
        "used": 0,
    }
    acme.agrees(**monthly, until=june, credit=69_300)
    acme.reach(june, hours=2)
    acme.is_billed(9_900)
    acme.agrees(**monthly, until=july, credit=59_400, by_event=True)

    # And to the year again when the paid month is over; the card pays the rest of it.
    scheduled = data(acme.owner.downgrade("pro_annual"))
    assert datetime.fromisoformat(scheduled["effectiveAt"]) == july
    acme.agrees(**monthly, until=july, credit=59_400, scheduled=("pro_annual", july))
    acme.reach(july, hours=2)
    acme.is_billed(PRO_ANNUAL)
    yearly: Terms = {**monthly, "plan": "pro_annual", "price": PRO_ANNUAL}
    acme.agrees(**yearly, until=july.replace(year=july.year + 1), by_event=True)
    newest = acme._invoices()[-1]
    assert newest["amount_paid"] == PRO_ANNUAL - 59_400

    # Left at the end of that year, and not a day before.
    ends = july.replace(year=july.year + 1)
    leaves = data(acme.owner.cancel("period_end"))
    assert datetime.fromisoformat(leaves["endsAt"]) == ends
    acme.agrees(**yearly, until=ends, ends_at=ends)
    acme.reach(ends, hours=-1)
    acme.agrees(**yearly, until=ends, ends_at=ends)
    acme.reach(ends, minutes=1)
    over: Terms = {**yearly, "status": "canceled", "until": ends, "ends_at": ends}
    acme.agrees(**over, refused="PAYMENT_REQUIRED", by_event=True)


def four_years_on(acme: Account) -> None:
    # Subscribed to anew on the next leap day: billed on February 28, and on the 29th
    # again where there is one.
    acme.reach(acme.on(2, 29, year=4))
    data(acme.owner.subscribe("pro_annual"))
    acme.is_billed(PRO_ANNUAL)
    acme.anchor = acme.mirror.billing_cycle_anchor
    renewals = [(28, 1), (28, 2), (28, 3), (29, 4), (28, 5)]
    yearly: Terms = {
        "plan": "pro_annual",
        "status": "active",
        "price": PRO_ANNUAL,
        "used": 0,
    }
    acme.agrees(**yearly, until=acme.on(2, 28, year=1))
    for (day, year), (next_day, next_year) in zip(renewals, renewals[1:], strict=False):
        acme.reach(acme.on(2, day, year=year), hours=2)
        acme.is_billed(PRO_ANNUAL)
        acme.agrees(**yearly, until=acme.on(2, next_day, year=next_year), by_event=True)
