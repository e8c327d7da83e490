"""Quotas that follow the billing period, from the catalogue to the counter, as Stripe bills."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from billing.models import Plan
from billing.statements.services import verify
from config.contract import clock
from config.contract.clients import clients
from quotas import corrections
from quotas.models import UsageCounter
from tests.billing.catalogues import plans, sync, write
from tests.billing.owners import Owner, new_owner, use_card
from tests.sandbox.server import Control
from tests.support.cast import data

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def by_billing_period(transactional_db: None) -> Iterator[None]:
    """All plans have their units anew with each billing period."""
    Plan.objects.update(quota_period="billing_period")
    yield
    Plan.objects.update(quota_period="calendar_month", interval="month")


@pytest.fixture
def owner(by_billing_period: None, sandbox: Control) -> Owner:
    """The owner of an organisation that just signed up, on the 31st of a January at noon."""
    new_year = datetime(clock.now().year + 1, 1, 31, 12, tzinfo=UTC)
    sandbox.travel(seconds=int(new_year.timestamp()) - sandbox.now())
    return new_owner()


def sell_by_the_year(code: str) -> None:
    """Make a plan cost by the year what it cost by the month, here and at Stripe."""
    Plan.objects.filter(code=code).update(interval="year", stripe_price_id="")
    plan = Plan.objects.get(code=code)
    monthly = clients.stripe.find_price(lookup_key=code)
    clients.stripe.create_price(
        product_id=monthly["product"],
        lookup_key=code,
        amount=str(plan.amount),
        currency=plan.currency,
        interval="year",
        idempotency_key=f"{code}:year",
    )


def billed(owner: Owner) -> tuple[str, str]:
    """Return the current period as Stripe has it, without asking for it here."""
    item = clients.stripe.retrieve_subscription(
        subscription_id=owner.mirror.stripe_subscription_id
    )["items"]["data"][0]
    return written(item["current_period_start"]), written(item["current_period_end"])


def written(unix: int) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%SZ}"


def metered(owner: Owner) -> tuple[str, str]:
    """Return the current quota period as its owner sees it."""
    seen = owner.entitlements()
    return seen["periodStart"], seen["periodEnd"]


def numbers(owner: Owner) -> tuple[int, int]:
    seen = owner.entitlements()
    return seen["used"], seen["remaining"]


def test_the_catalogue_says_when_a_plans_units_are_there_anew(tmp_path: Path) -> None:
    entries = plans()
    entries[1]["quotaPeriod"] = "billing_period"

    try:
        said = sync(write(tmp_path / "plans.json", entries), "--dry-run")
        wrong = [{**entries[0], "quotaPeriod": "fortnight"}, *entries[1:]]
        with pytest.raises(Exception, match="Invalid enum value 'fortnight'"):
            sync(write(tmp_path / "wrong.json", wrong), "--dry-run")
    finally:
        sync()

    assert "pro: quota_period calendar_month -> billing_period" in "\n".join(said)


def test_the_trials_end_is_the_first_boundary_and_needs_no_word_from_stripe(
    owner: Owner, sandbox: Control
) -> None:
    owner.use(10_000)
    trial_ends = owner.entitlements()["trialEndsAt"]
    assert metered(owner)[1] == trial_ends
    assert owner.use(1).status_code == 429

    sandbox.travel(days=14)

    assert data(owner.use(1))["remaining"] == 9_999
    assert metered(owner) == billed(owner)
    assert metered(owner)[0] == trial_ends
    owner.converge()
    assert numbers(owner) == (1, 9_999)


def test_quota_periods_are_stripes_billing_periods_for_two_years(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")  # ends the trial: the anchor is the 31st
    seen = []

    for _ in range(26):
        sandbox.travel(days=28)
        assert metered(owner) == billed(owner)
        seen.append(metered(owner)[0])

    assert {start[8:10] for start in seen} >= {"28", "30", "31"}


def test_an_upgrade_that_ends_the_trial_restarts_the_period_with_its_quota(owner: Owner) -> None:
    owner.use(4_000)
    corrections.adjust(
        org_id=owner.id, metric="api_call", units=500, reason="x", who="test", now=clock.now()
    )

    seen = data(owner.preview("pro"))["quota"]
    upgraded = data(owner.upgrade("pro"))

    told = {"includedUnits": 100_500, "used": 0, "remaining": 100_500}
    assert seen == told
    assert upgraded == {"planCode": "pro", **told}
    assert metered(owner)[1] == billed(owner)[1]
    assert numbers(owner) == (0, 100_500)
    old, new = UsageCounter.objects.filter(org_id=owner.id, metric="api_call").order_by(
        "period_start"
    )
    assert (old.counted, old.included, old.adjusted) == (4_000, 10_000, 0)
    assert old.period_end == new.period_start
    for counter in (old, new):
        statement = data(owner.get(f"/api/statements?periodKey={counter.period_key}"))
        assert statement["metrics"]["api_call"]["counted"] == counter.counted


def test_an_upgrade_within_the_cycle_keeps_what_was_used(owner: Owner, sandbox: Control) -> None:
    sandbox.travel(days=20)
    owner.converge()
    owner.use(4_000)

    seen = data(owner.preview("pro"))["quota"]
    owner.upgrade("pro")

    assert seen["used"] == 4_000
    assert numbers(owner) == (4_000, 96_000)


def test_another_interval_restarts_the_period(owner: Owner, sandbox: Control) -> None:
    sandbox.travel(days=20)
    owner.converge()
    owner.use(4_000)
    # Pro would not be dearer by the month than starter, at a month's amount for a year.
    sell_by_the_year("business")

    seen = data(owner.preview("business"))["quota"]
    data(owner.upgrade("business"))

    assert seen["used"] == 0
    assert numbers(owner) == (0, 1_000_000)
    assert metered(owner)[1] == billed(owner)[1]
    assert int(metered(owner)[1][:4]) == clock.now().year + 1


def test_a_new_subscription_restarts_the_period(owner: Owner, sandbox: Control) -> None:
    sandbox.travel(days=20)
    owner.converge()
    owner.use(10_000)
    owner.cancel("now")
    assert owner.use(1).status_code == 402
    sandbox.travel(days=3)

    owner.subscribe("starter")

    assert numbers(owner) == (0, 10_000)
    assert metered(owner) == billed(owner)


def test_periods_of_one_day_have_statements_of_their_own_and_are_sealed_in_order(
    owner: Owner, sandbox: Control
) -> None:
    keys = []
    for units, begin in ((1, owner.upgrade), (2, owner.subscribe), (3, owner.subscribe)):
        begin("pro")
        owner.use(units)
        keys.append(owner.entitlements()["periodKey"])
        owner.cancel("now")
        sandbox.travel(hours=1)
    day = keys[0]

    sandbox.travel(days=40)
    found = [data(owner.get(f"/api/statements?periodKey={key}")) for key in keys]

    assert keys == [day, f"{day}.2", f"{day}.3"]
    assert [one["metrics"]["api_call"]["used"] for one in found] == [1, 2, 3]
    assert [one["previousDigest"] for one in found[1:]] == [one["digest"] for one in found[:-1]]
    assert list(verify(org_id=owner.id)) == []


def test_resuming_a_paused_subscription_restarts_the_period(
    by_billing_period: None, sandbox: Control
) -> None:
    sandbox.settings(auto_card=False)
    owner = new_owner()
    owner.use(10_000)
    sandbox.travel(days=15)
    owner.converge()
    assert owner.entitlements()["status"] == "paused"
    sandbox.settings(auto_card=True)
    use_card(owner, "pm_card_visa")

    owner.resume()

    assert owner.entitlements()["status"] == "active"
    assert numbers(owner) == (0, 10_000)
    assert metered(owner)[1] == billed(owner)[1]


def test_a_downgrade_to_the_year_begins_at_its_instant_by_itself(
    owner: Owner, sandbox: Control
) -> None:
    owner.upgrade("pro")
    sell_by_the_year("starter")
    scheduled: Any = data(owner.downgrade("starter"))
    sandbox.travel(days=28 + 5)

    provisional = metered(owner), numbers(owner)
    owner.converge()

    assert provisional[1] == (0, 10_000)
    assert provisional[0][0] == scheduled["effectiveAt"]
    assert (metered(owner), numbers(owner)) == provisional
    assert metered(owner) == billed(owner)
