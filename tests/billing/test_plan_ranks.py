"""Which of two plans is the dearer: by what a month costs, however often it is paid."""

import pytest
from django.test import Client

from billing.models import Plan
from billing.portal.subscription import overview
from config.contract import clock
from quotas.queries import current_entitlement
from tests.billing.owners import Owner
from tests.support.cast import data, error

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("annual_plans")]

CHEAPEST_FIRST = ["starter", "pro_annual", "pro", "business_annual", "business"]


def plan(amount: int, interval: str) -> Plan:
    return Plan(code=f"{amount}_{interval}", amount=amount, currency="usd", interval=interval)


@pytest.mark.parametrize(
    ("cheaper", "dearer"),
    [
        (plan(1900, "month"), plan(9900, "month")),
        (plan(1900, "year"), plan(1900, "month")),
        (plan(99_000, "year"), plan(9900, "month")),
        # A third of a cent a month, which no rounding may hide.
        (plan(118_799, "year"), plan(9900, "month")),
        (plan(9900, "month"), plan(118_801, "year")),
        # The same by the month: the one that is paid for longer.
        (plan(9900, "month"), plan(118_800, "year")),
        (plan(0, "month"), plan(1, "year")),
        (plan(2**53 - 1, "year"), plan(2**53, "year")),
    ],
)
def test_dearer_is_what_costs_more_a_month(cheaper: Plan, dearer: Plan) -> None:
    assert dearer.is_dearer_than(cheaper)
    assert not cheaper.is_dearer_than(dearer)
    assert not dearer.is_dearer_than(dearer)


def test_the_database_orders_plans_as_they_rank() -> None:
    Plan.objects.filter(code="business_annual").update(amount=118_800)
    in_order = list(Plan.objects.all())

    assert in_order == sorted(in_order, key=lambda one: (one.rank, one.code))
    assert [one.code for one in in_order][2:4] == ["pro", "business_annual"]


def test_the_catalogue_is_listed_cheapest_first() -> None:
    listed = data(Client().get("/api/plans"))["plans"]

    assert [one["planCode"] for one in listed] == CHEAPEST_FIRST


def test_every_dearer_plan_is_an_upgrade(owner: Owner) -> None:
    for code in CHEAPEST_FIRST[1:]:
        assert owner.downgrade(code).status_code == 409
        assert data(owner.upgrade(code))["planCode"] == code


def test_every_cheaper_plan_is_a_downgrade(owner: Owner) -> None:
    data(owner.upgrade("business"))

    for code in reversed(CHEAPEST_FIRST[:-1]):
        refused = owner.upgrade(code)
        assert error(refused)["code"] == "PLAN_CHANGE_CONFLICT"
        assert data(owner.downgrade(code))["newPlanCode"] == code


def test_the_page_offers_the_way_that_the_change_takes(owner: Owner) -> None:
    for place, code in enumerate(CHEAPEST_FIRST):
        data(owner.upgrade(code))
        current = current_entitlement(org_id=owner.id, now=clock.now())
        assert current is not None

        offers = [(one.code, one.way) for one in overview(current, now=clock.now()).offers]

        cheaper, dearer = CHEAPEST_FIRST[:place], CHEAPEST_FIRST[place + 1 :]
        assert offers == [
            *((one, "downgrade") for one in cheaper),
            (code, None),
            *((one, "upgrade") for one in dearer),
        ]
