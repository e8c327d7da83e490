"""The plan catalogue: the file, the tables, GET /api/plans."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from billing import catalogue
from billing.models import Plan, PlanAllowance
from quotas.models import Metric
from tests.billing.catalogues import SHIPPED, plans, sync, write
from tests.contract.state import nothing_written
from tests.support.cast import data, make_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _shipped_again() -> Iterator[None]:
    """Leave the catalogue as it was found: it is not cleaned between tests."""
    yield
    Plan.objects.exclude(code__in=[plan["planCode"] for plan in SHIPPED["plans"]]).delete()
    Metric.objects.exclude(code__in=["api_call", "compute_ms"]).delete()
    sync()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes a catalogue of its own."""
    return tmp_path / "plans.json"


def _listed() -> dict[str, Any]:
    return {plan["planCode"]: plan for plan in data(Client().get("/api/plans"))["plans"]}


# GET /api/plans


def test_the_plans_are_those_of_the_contract_cheapest_first() -> None:
    def metric(units: int, price: str | None = None) -> dict[str, Any]:
        return {
            "includedUnits": units,
            "overage": "allow" if price else "block",
            "overageUnitAmount": price,
        }

    def plan(code: str, amount: int, trial: int, calls: Any, compute: Any) -> dict[str, Any]:
        return {
            "planCode": code,
            "name": code.capitalize(),
            "amount": amount,
            "currency": "usd",
            "interval": "month",
            "trialDays": trial,
            "includedUnits": calls["includedUnits"],
            "metrics": {"api_call": calls, "compute_ms": compute},
        }

    response = Client().get("/api/plans")

    assert data(response) == {
        "plans": [
            plan("starter", 1900, 14, metric(10_000), metric(1_000_000)),
            plan("pro", 9900, 0, metric(100_000), metric(20_000_000)),
            plan("business", 49900, 0, metric(1_000_000, "0.05"), metric(400_000_000)),
        ]
    }


def test_the_plans_need_two_queries_however_many_there_are(
    django_assert_num_queries: Any,
) -> None:
    with django_assert_num_queries(2):
        Client().get("/api/plans")


# sync_plans


def test_a_second_sync_changes_nothing() -> None:
    with nothing_written():
        said = sync()

    assert said == ["0 changed"]


def test_a_new_plan_is_put_on_sale(file: Path) -> None:
    new = {**plans()[1], "planCode": "plus", "name": "Plus", "amount": 14900}
    new["metrics"] = {"images": {"includedUnits": 7, "overage": "allow", "overageUnitAmount": "2"}}
    write(file, [*plans(), new])

    said = sync(file)

    assert said == ["plus: added", "plus.images: nothing -> 7 then allow at 2", "2 changed"]
    assert _listed()["plus"]["metrics"] == {
        "images": {"includedUnits": 7, "overage": "allow", "overageUnitAmount": "2"}
    }
    assert _listed()["plus"]["includedUnits"] == 0
    assert Metric.objects.filter(code="images").exists()


def test_every_change_is_told_and_made(file: Path) -> None:
    entries = plans()
    entries[1] |= {"name": "Professional", "installationLimit": 60}
    entries[1]["metrics"]["api_call"]["includedUnits"] = 120_000
    del entries[2]["metrics"]["compute_ms"]
    write(file, entries)

    said = sync(file)

    assert said == [
        "pro: name Pro -> Professional",
        "pro: installation_limit 50 -> 60",
        "pro.api_call: 100000 then block -> 120000 then block",
        "business.compute_ms: removed",
        "4 changed",
    ]
    assert Plan.objects.get(code="pro").installation_limit == 60
    assert _listed()["pro"]["includedUnits"] == 120_000
    assert list(_listed()["business"]["metrics"]) == ["api_call"]


def test_a_dry_run_tells_and_writes_nothing(file: Path) -> None:
    entries = plans()[:2]
    entries[0]["amount"] = 2000
    entries[1]["metrics"]["gpu_ms"] = {"includedUnits": 1, "overage": "block"}
    write(file, entries)

    with nothing_written():
        said = sync(file, "--dry-run")

    assert said == [
        "starter: amount 1900 -> 2000",
        "pro.gpu_ms: nothing -> 1 then block",
        "business: taken off sale",
        "3 would change",
    ]


def test_a_plan_that_left_the_file_is_off_sale_and_kept_for_who_is_on_it(file: Path) -> None:
    org = make_org(plan="business")
    write(file, plans()[:2])

    sync(file)

    assert list(_listed()) == ["starter", "pro"]
    assert not Plan.objects.get(code="business").on_sale
    assert PlanAllowance.objects.filter(plan__code="business").count() == 2
    assert data(org.get("/api/me/entitlements"))["planCode"] == "business"
    assert sync(file) == ["0 changed"]


def test_a_plan_that_comes_back_is_on_sale_again(file: Path) -> None:
    sync(write(file, plans()[:2]))

    said = sync()

    assert said == ["business: on_sale False -> True", "1 changed"]
    assert list(_listed()) == ["starter", "pro", "business"]


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({"amount": 2000}, ""),
        ({"interval": "year"}, ""),
        ({"name": "Beginner", "trialDays": 30, "installationLimit": 9}, "price_held"),
    ],
)
def test_the_price_at_stripe_is_looked_up_again_where_it_changed(
    file: Path, change: dict[str, Any], held: str
) -> None:
    Plan.objects.filter(code="starter").update(stripe_price_id="price_held")
    entries = plans()
    entries[0] |= change

    sync(write(file, entries))

    assert Plan.objects.get(code="starter").stripe_price_id == held


def test_two_syncs_at_once_add_a_plan_once(file: Path) -> None:
    new = {**plans()[1], "planCode": "plus", "amount": 14900}
    entries = catalogue.read_file(write(file, [*plans(), new]))
    together = threading.Barrier(4)

    def sync_once(_: int) -> list[str]:
        together.wait(10)
        try:
            return catalogue.sync(entries, dry_run=False)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(sync_once, range(4)), key=len)

    assert said[:3] == [[], [], []]
    assert said[3][0] == "plus: added"
