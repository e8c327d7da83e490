"""What use past a plan costs: what it did when the plan was bought, whatever is sold since."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest
from django.db import connection, transaction

from billing import convergence, prices
from billing.models import Operation, Plan, PlanAllowance, Subscription
from billing.overage import due
from billing.overage.deal import Stored, UnitPrice
from billing.portal.subscription import includes
from billing.stripe_gateway import is_metered
from config.contract.clients import clients
from quotas.models import Entitlement, UsageCounter
from quotas.rules import Allowance
from quotas.services import ScheduledChange, grant
from tests.billing.catalogues import annual, plans, selling
from tests.billing.deals import at_stripe, edit, kept_catalogue, make_price
from tests.billing.overages import INCLUDED, charge, closed, metered_lines, on_business, until
from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control
from tests.support.cast import data, make_org


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """An owner on business since the tenth: a million calls a month, and then 20 for a cent."""
    return on_business(sandbox)


def selling_past_business_at(file: Path, price: str) -> AbstractContextManager[None]:
    """Sell use past business, by the month and by the year, at this price; and a dearer plan."""
    entries = annual()
    for entry in entries:
        if entry["planCode"].startswith("business"):
            entry["metrics"]["api_call"]["overageUnitAmount"] = price
    business = next(entry for entry in plans() if entry["planCode"] == "business")
    return selling(file, [*entries, {**business, "planCode": "scale", "amount": 999_900}])


def test_overage_costs_what_it_did_on_the_day_the_plan_was_bought(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    owner.use(INCLUDED + 3_000)
    with selling_past_business_at(tmp_path / "plans.json", "0.09"):
        owner.converge()
        closed(sandbox)
        charge()
        until(sandbox, 2, 11)

    # By its metered item, which never left the price that it was bought at.
    assert Operation.objects.filter(
        kind="overage", request__unitAmount="0.05", result__way="meter"
    ).exists()
    assert metered_lines(sandbox, owner) == [(3_000, 150)]


@pytest.mark.usefixtures("annual_plans")
def test_an_annual_plans_overage_keeps_the_price_of_the_day_it_was_bought(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    data(owner.cancel("now"))
    data(owner.subscribe("business_annual"))
    owner.use(INCLUDED + 3_000)
    with selling_past_business_at(tmp_path / "plans.json", "0.09"):
        owner.converge()
        page = includes(Plan.objects.get(code="business_annual"), kept=owner.mirror.overage_prices)
        closed(sandbox)
        charge()
        until(sandbox, 2, 11)
        late = new_owner()
        data(late.cancel("now"))
        data(late.subscribe("business_annual"))

    assert "then $0.0005 each" in page[0]
    assert metered_lines(sandbox, owner) == [(3_000, 150)]
    assert late.mirror.overage_prices["api_call"]["unitAmount"] == "0.09"


@pytest.mark.usefixtures("annual_plans")
def test_a_scheduled_change_is_to_the_price_of_the_day_it_was_asked_for(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    with selling_past_business_at(tmp_path / "plans.json", "0.07"):
        data(owner.upgrade("scale"))
        data(owner.downgrade("business_annual"))
        scheduled = owner.mirror.overage_prices_of("business_annual")
        with selling_past_business_at(tmp_path / "plans.json", "0.09"):
            until(sandbox, 2, 11)
            owner.converge()
            owner.use(INCLUDED + 3_000)
            until(sandbox, 3, 4)
            charge()
            until(sandbox, 3, 5)

    assert owner.mirror.plan_code == "business_annual"
    assert owner.mirror.overage_prices == scheduled
    assert metered_lines(sandbox, owner) == [(3_000, 210)]


def test_a_schedule_that_was_taken_back_before_its_time_sold_nothing(
    transactional_db: None,
) -> None:
    march = datetime(2026, 3, 2, tzinfo=UTC)
    org = make_org(now=march)
    included = {"api_call": Allowance(10, "allow")}
    blocked = {"api_call": Allowance(10, "block")}
    change = ScheduledChange(
        "business", included, march + timedelta(days=9), overage_prices=at_price("0.03")
    )
    for days, plan_code, allowances, sold_at, scheduled in (
        (1, "scale", included, at_price("0.05"), None),
        (2, "starter", blocked, {}, change),
        (3, "starter", blocked, {}, None),
    ):
        with transaction.atomic():
            grant(
                org_id=org.id,
                plan_code=plan_code,
                status="active",
                allowances=allowances,
                overage_prices=sold_at,
                scheduled=scheduled,
                because="test",
                now=march + timedelta(days=days),
                anchor_at=march,
            )
    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")

    assert due._sold_at(counter) == ("scale", UnitPrice(Decimal("0.05"), "usd"))


def at_price(amount: str) -> Stored:
    return {"api_call": {"unitAmount": amount, "currency": "usd"}}


def test_what_the_catalogue_allows_since_the_last_fetch_has_its_price_at_once(
    transactional_db: None, sandbox: Control
) -> None:
    owner = new_owner()
    with kept_catalogue():
        PlanAllowance.objects.filter(plan__code="starter", metric="api_call").update(
            overage="allow", overage_unit_amount="0.07"
        )
        with transaction.atomic():
            convergence.grant_from_mirrors(owner.id, because="test")

    assert Entitlement.objects.get(org_id=owner.id).overage_prices == at_price("0.07")


def test_who_is_moved_to_another_price_of_the_plan_has_a_new_deal(
    owner: Owner, sandbox: Control, tmp_path: Path
) -> None:
    with selling_past_business_at(tmp_path / "plans.json", "0.09"):
        metered = prices.metered_price_ids(Plan.objects.get(code="business"))
        [item] = [item for item in at_stripe(owner)["items"]["data"] if is_metered(item)]
        edit(owner, {"id": item["id"], "price": metered[0]})
        owner.converge()

    assert owner.mirror.overage_prices["api_call"]["unitAmount"] == "0.09"


def test_a_metered_price_that_does_not_say_what_it_meters_is_known_by_its_meter(
    owner: Owner,
) -> None:
    [meter] = clients.stripe.list_meters()
    silent = make_price(
        "prod_business",
        11,
        recurring={"interval": "month", "usage_type": "metered", "meter": meter["id"]},
    )
    [item] = [item for item in at_stripe(owner)["items"]["data"] if is_metered(item)]
    edit(owner, {"id": item["id"], "price": silent["id"]})

    owner.converge()

    assert owner.mirror.overage_prices["api_call"]["unitAmount"] == "11"


def test_subscribers_of_before_are_given_the_price_of_today(owner: Owner) -> None:
    given = owner.mirror.overage_prices
    Subscription.objects.update(overage_prices={})
    Entitlement.objects.update(overage_prices={})
    migration = import_module("billing.migrations.0025_deals_know_their_overage_price")

    with transaction.atomic(), connection.cursor() as cursor:
        for statement in migration.Migration.operations[0].sql:
            cursor.execute(statement)

    assert given == {"api_call": {"unitAmount": "0.05", "currency": "usd"}}
    assert owner.mirror.overage_prices == given
    assert Entitlement.objects.get(org_id=owner.id).overage_prices == given
