"""A year in the life of a customer: what each step costs in cents, worked out by hand.

Periods are chosen so that a proration is a plain part of them. Stripe gives back
and charges line by line, floored toward minus infinity, over whole seconds.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from billing.overage import services as overage
from config.contract import clock
from tests.billing.agreement import Account, Terms, leap_year, opening, unix
from tests.billing.deals import kept_catalogue, reprice
from tests.billing.owners import use_card
from tests.sandbox.server import Control
from tests.support.cast import data, error


@pytest.fixture
def acme(live_server: LiveServer, sandbox: Control) -> Iterator[Account]:
    """Somebody who signs up on January 17 of the year before a leap year, with a card."""
    at = datetime(leap_year() - 1, 1, 17, 12, tzinfo=UTC)
    with kept_catalogue(), opening(live_server, sandbox, at) as account:
        yield account


def test_a_year_and_what_it_costs(acme: Account, tmp_path: Path) -> None:
    a_trial_that_is_paid_when_it_ends(acme)
    two_upgrades_and_a_change_of_mind(acme)
    overage_and_a_dearer_catalogue(acme, tmp_path)
    leaving(acme)
    coming_back_and_falling_behind(acme)
    a_cheaper_plan_from_a_second_catalogue(acme, tmp_path)
    the_ends_of_months_until_the_leap_day(acme)


def a_trial_that_is_paid_when_it_ends(acme: Account) -> None:
    trial_ends = acme.on(1, 31)
    assert trial_ends - clock.now() > timedelta(days=13, hours=23, minutes=55)
    acme.is_billed(0)
    trial: Terms = {
        "plan": "starter",
        "price": 1_900,
        "until": trial_ends,
        "trial_ends_at": trial_ends,
    }
    acme.agrees(**trial, status="trialing", used=0)

    assert data(acme.owner.use(4_000))["remaining"] == 6_000
    acme.agrees(**trial, status="trialing", used=4_000)

    # Cancelled and taken back: no day of the trial is lost.
    assert data(acme.owner.cancel("period_end"))["status"] == "trialing"
    acme.agrees(**trial, status="trialing", used=4_000, ends_at=trial_ends)
    assert data(acme.owner.resume()) == {"status": "trialing", "endsAt": None}
    acme.agrees(**trial, status="trialing", used=4_000)

    # Stripe has an hour before it charges; until its word comes the trial holds on.
    acme.reach(trial_ends, minutes=5)
    acme.answers("starter", "trialing", included=10_000, used=4_000)
    acme.is_billed(1_900, "draft")
    on_starter: Terms = {**trial, "status": "active", "until": acme.on(2, 28)}
    acme.agrees(**on_starter, used=4_000, by_event=True)
    acme.reach(trial_ends, hours=2)
    acme.paid_last()
    acme.agrees(**on_starter, used=4_000, by_event=True)

    # February has its own units.
    acme.reach(acme.on(2, 1))
    acme.agrees(**on_starter, used=0)


def two_upgrades_and_a_change_of_mind(acme: Account) -> None:
    trial_ends, february = acme.on(1, 31), acme.on(2, 28)
    data(acme.owner.use(9_000))

    # Half of 28 days are left: 19.00 / 2 is given back, 99.00 / 2 charged.
    half = acme.on(2, 14)
    acme.reach(half)
    on_starter: Terms = {"plan": "starter", "status": "active", "price": 1_900}
    on_starter |= {"until": february, "trial_ends_at": trial_ends, "used": 9_000}
    data(acme.owner.cancel("period_end"))
    acme.agrees(**on_starter, ends_at=february)
    preview = data(acme.owner.preview("pro"))
    assert datetime.fromisoformat(preview["endsAt"]) == february
    assert 3_990 <= preview["amount"] <= 4_000  # some seconds later
    assert preview["quota"] == {"includedUnits": 100_000, "used": 9_000, "remaining": 91_000}
    answer = acme.owner.upgrade("pro", prorationDate=unix(half), expectedAmount=-950 + 4_950)
    assert data(answer) == {"planCode": "pro", **preview["quota"]}
    acme.is_billed(4_000)
    since: Terms = {"until": february, "trial_ends_at": trial_ends, "status": "active"}
    acme.agrees(**since, plan="pro", price=9_900, used=9_000, ends_at=february)

    # That cancellation outlived the upgrade; it is taken back.
    assert data(acme.owner.resume()) == {"status": "active", "endsAt": None}
    acme.agrees(**since, plan="pro", price=9_900, used=9_000)

    # A quarter is left. What is given back is half of the 49.50 paid a week ago.
    quarter = acme.on(2, 21)
    acme.reach(quarter)
    answer = acme.owner.upgrade(
        "business", prorationDate=unix(quarter), expectedAmount=-2_475 + 12_475
    )
    assert data(answer)["remaining"] == 991_000
    acme.is_billed(10_000)
    on_business: Terms = {**since, "plan": "business", "price": 49_900}
    acme.agrees(**on_business, used=9_000)

    # Down to pro, rewritten to starter, taken back, and to pro after all.
    assert data(acme.owner.downgrade("pro"))["newPlanCode"] == "pro"
    acme.agrees(**on_business, used=9_000, scheduled=("pro", february))
    assert data(acme.owner.downgrade("starter"))["newPlanCode"] == "starter"
    acme.agrees(**on_business, used=9_000, scheduled=("starter", february))
    assert data(acme.owner.keep_plan()) == {"cancelled": True}
    acme.agrees(**on_business, used=9_000)
    assert data(acme.owner.keep_plan()) == {"cancelled": False}
    assert error(acme.owner.downgrade("business"))["code"] == "PLAN_CHANGE_CONFLICT"
    scheduled = data(acme.owner.downgrade("pro"))
    assert datetime.fromisoformat(scheduled["effectiveAt"]) == february
    acme.agrees(**on_business, used=9_000, scheduled=("pro", february))

    # 20,000 calls past what business includes, in the last days of it.
    assert data(acme.owner.use(1_011_000))["remaining"] == 0
    acme.agrees(**on_business, used=1_020_000, scheduled=("pro", february))

    # At its instant it is pro, without a word; February keeps the million.
    acme.reach(february, minutes=5)
    acme.answers("pro", "active", included=1_000_000, used=1_020_000)
    acme.is_billed(9_900, "draft")
    on_pro: Terms = {**since, "plan": "pro", "price": 9_900, "until": acme.on(3, 31)}
    acme.agrees(**on_pro, used=1_020_000, included=1_000_000, by_event=True)
    acme.reach(february, hours=2)
    acme.paid_last()
    acme.agrees(**on_pro, used=1_020_000, included=1_000_000, by_event=True)


def overage_and_a_dearer_catalogue(acme: Account, tmp_path: Path) -> None:
    on_pro: Terms = {
        "plan": "pro",
        "status": "active",
        "trial_ends_at": acme.on(1, 31),
        "price": 9_900,
    }
    acme.reach(acme.on(3, 1))
    acme.agrees(**on_pro, until=acme.on(3, 31), used=0)

    # February is closed after 72 hours: 20,000 x 0.05 cents, on an invoice of its own.
    overage.charge_due(now=clock.now())
    acme.agrees(**on_pro, until=acme.on(3, 31), used=0)
    acme.reach(acme.on(3, 4))
    overage.charge_due(now=clock.now())
    acme.is_billed(1_000, "open")
    acme.agrees(**on_pro, until=acme.on(3, 31), used=0)
    acme.reach(acme.on(3, 4), hours=2)
    acme.paid_last()
    acme.agrees(**on_pro, until=acme.on(3, 31), used=0, by_event=True)
    february = data(acme.owner.get(f"/api/statements?periodKey={acme.on(2, 1):%Y-%m}"))
    assert february["status"] == "closed"
    assert february["metrics"]["api_call"]["overage"] == 20_000

    # Pro costs 129.00 from now on; who is on it keeps 99.00.
    reprice(tmp_path, {"pro": 12_900})
    data(acme.owner.use(40_000))
    acme.agrees(**on_pro, until=acme.on(3, 31), used=40_000)
    assert data(acme.owner.preview("pro"))["amount"] == 0
    acme.reach(acme.on(3, 31), hours=2)
    acme.is_billed(9_900)
    acme.agrees(**on_pro, until=acme.on(4, 30), used=40_000, by_event=True)


def leaving(acme: Account) -> None:
    # Half of 30 days: half of the 99.00 that were paid, not of today's 129.00.
    half, april = acme.on(4, 15), acme.on(4, 30)
    acme.reach(half)
    answer = acme.owner.upgrade(
        "business", prorationDate=unix(half), expectedAmount=-4_950 + 24_950
    )
    assert data(answer) == {
        "planCode": "business",
        "includedUnits": 1_000_000,
        "used": 0,
        "remaining": 1_000_000,
    }
    acme.is_billed(20_000)
    on_business: Terms = {
        "plan": "business",
        "status": "active",
        "price": 49_900,
        "until": april,
        "trial_ends_at": acme.on(1, 31),
    }
    acme.agrees(**on_business, used=0)
    data(acme.owner.use(1_040_000))

    leaves = data(acme.owner.cancel("period_end"))
    assert (leaves["status"], datetime.fromisoformat(leaves["endsAt"])) == ("active", april)
    acme.agrees(**on_business, used=1_040_000, ends_at=april)
    assert error(acme.owner.downgrade("pro"))["code"] == "PLAN_CHANGE_CONFLICT"
    assert data(acme.owner.resume()) == {"status": "active", "endsAt": None}
    acme.agrees(**on_business, used=1_040_000)
    data(acme.owner.downgrade("pro"))
    acme.agrees(**on_business, used=1_040_000, scheduled=("pro", april))
    data(acme.owner.cancel("period_end"))
    acme.agrees(**on_business, used=1_040_000, ends_at=april)

    # Over at its instant, without a word.
    acme.reach(april, seconds=1)
    acme.answers(
        "business", "active", included=1_000_000, used=1_040_000, refused="PAYMENT_REQUIRED"
    )
    over: Terms = {
        **on_business,
        "status": "canceled",
        "refused": "PAYMENT_REQUIRED",
        "ends_at": april,
    }
    acme.agrees(**over, used=1_040_000, by_event=True)
    assert acme.owner.use(1).status_code == 402
    assert error(acme.owner.resume())["code"] == "PLAN_CHANGE_CONFLICT"
    assert error(acme.owner.preview("pro"))["code"] == "PLAN_CHANGE_CONFLICT"

    # What was used past the plan in April is charged still: 40,000 x 0.05 cents.
    acme.reach(acme.on(5, 4))
    overage.charge_due(now=clock.now())
    acme.reach(acme.on(5, 4), hours=2)
    acme.is_billed(2_000)
    acme.agrees(**over, used=0, by_event=True)


def coming_back_and_falling_behind(acme: Account) -> None:
    # Back on the 31st, at the price of today, without a second trial.
    acme.reach(acme.on(5, 31))
    answer = data(acme.owner.subscribe("pro"))
    assert (answer["status"], answer["planCode"], answer["used"]) == ("active", "pro", 0)
    acme.is_billed(12_900)
    acme.anchor = acme.mirror.billing_cycle_anchor
    on_pro: Terms = {"plan": "pro", "price": 12_900}
    june, july = acme.on(6, 30), acme.on(7, 31)
    acme.agrees(**on_pro, status="active", until=june, used=0)
    data(acme.owner.use(70_000))

    # The card fails at the renewal: seven days of grace, then nothing more.
    use_card(acme.owner, "pm_card_chargeCustomerFail")
    acme.reach(june, hours=2)
    acme.answers("pro", "active", included=100_000, used=0)
    acme.is_billed(12_900, "open")
    late: Terms = {**on_pro, "status": "past_due", "until": july}
    acme.agrees(**late, used=0, by_event=True)
    assert data(acme.owner.use(500))["remaining"] == 99_500
    acme.agrees(**late, used=500)
    declined = acme.owner.upgrade("business")
    assert declined.status_code == 402
    assert error(declined)["details"]["reason"] == "card_declined"
    acme.agrees(**late, used=500)
    acme.reach(june, days=7, hours=1)
    acme.agrees(**late, used=0, by_event=True)
    acme.reach(june, days=7, hours=3)
    acme.agrees(**late, used=0, refused="PAYMENT_REQUIRED", by_event=True)
    assert acme.owner.use(1).status_code == 402

    # Paid on the invoice's page with another card, on which it is charged from now on.
    url = data(acme.owner.get("/api/invoices?limit=1"))["invoices"][0]["url"]
    status, _, _ = acme.sandbox.page(url, action="pay", card="pm_card_visa")
    assert status == 302
    acme.paid_last()
    acme.agrees(**on_pro, status="active", until=july, used=0, by_event=True)
    assert data(acme.owner.use(500))["remaining"] == 99_500
    use_card(acme.owner, "pm_card_visa")


def a_cheaper_plan_from_a_second_catalogue(acme: Account, tmp_path: Path) -> None:
    # Pro becomes cheaper than what is paid for it, starter dearer than it was.
    reprice(tmp_path, {"pro": 10_900, "starter": 2_900})
    july, august = acme.on(7, 31), acme.on(8, 31)
    on_pro: Terms = {"plan": "pro", "status": "active", "price": 12_900}
    acme.agrees(**on_pro, until=july, used=500)
    scheduled = data(acme.owner.downgrade("starter"))
    assert datetime.fromisoformat(scheduled["effectiveAt"]) == july
    acme.agrees(**on_pro, until=july, used=500, scheduled=("starter", july))

    # A declined upgrade leaves it as it was agreed, although starter costs more by then.
    reprice(tmp_path, {"pro": 10_900, "starter": 3_900})
    acme.sandbox.fault("card_declined")
    assert acme.owner.upgrade("business").status_code == 402
    acme.agrees(**on_pro, until=july, used=500, scheduled=("starter", july))

    # It begins at the price of the day on which it was scheduled. July keeps its units.
    acme.reach(july, hours=2)
    acme.is_billed(2_900)
    on_starter: Terms = {"plan": "starter", "status": "active", "price": 2_900, "until": august}
    acme.agrees(**on_starter, used=500, included=100_000, by_event=True)
    acme.reach(acme.on(8, 1))
    acme.agrees(**on_starter, used=0)
    assert acme.owner.use(10_001).status_code == 429
    assert data(acme.owner.use(10_000))["remaining"] == 0
    acme.answers("starter", "active", included=10_000, used=10_000, refused="RATE_LIMITED")


def the_ends_of_months_until_the_leap_day(acme: Account) -> None:
    # Billed on the last day of short months, and on the 31st of the long ones again.
    ends = [
        *(acme.on(month, day) for month, day in ((8, 31), (9, 30), (10, 31), (11, 30), (12, 31))),
        *(acme.on(month, day, year=1) for month, day in ((1, 31), (2, 29), (3, 31))),
    ]
    on_starter: Terms = {"plan": "starter", "status": "active", "price": 2_900}
    for renewed, until in zip(ends, ends[1:], strict=False):
        acme.reach(renewed, hours=2)
        acme.is_billed(2_900)
        used = 10_000 if renewed.month == 8 else 0
        refused = "RATE_LIMITED" if used else None
        acme.hear()
        acme.agrees(**on_starter, until=until, used=used, refused=refused)

    # 31 days follow the leap day. With 10 of them left 935.48 cents are given back
    # and 3516.13 charged: -936 + 3516.
    moment = acme.on(3, 21, year=1)
    acme.reach(moment)
    answer = acme.owner.upgrade("pro", prorationDate=unix(moment), expectedAmount=2_580)
    assert data(answer)["remaining"] == 100_000
    acme.is_billed(2_580)
    acme.agrees(plan="pro", status="active", price=10_900, until=acme.on(3, 31, year=1), used=0)
