"""A catalogue file that is wrong: refused with its reason, nothing changed."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from tests.billing.catalogues import plans, sync, write
from tests.contract.state import nothing_written

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes a catalogue of its own."""
    return tmp_path / "plans.json"


def _with(plan: int, **fields: Any) -> list[dict[str, Any]]:
    entries = plans()
    entries[plan] |= fields
    return entries


def _without(plan: int, field: str) -> list[dict[str, Any]]:
    entries = plans()
    del entries[plan][field]
    return entries


def _metric(plan: int, **fields: Any) -> list[dict[str, Any]]:
    entries = plans()
    entries[plan]["metrics"]["api_call"] |= fields
    return entries


BAD = {
    "no plan at all": ([], "length >= 1"),
    "no starter": (plans()[1:], "the plan starter is missing"),
    "the same code twice": ([*plans(), plans()[1]], "the plan pro stands twice"),
    "an unknown field": (_with(0, price=3), "unknown field `price`"),
    "a missing field": (_without(1, "trialDays"), "missing required field `trialDays`"),
    "a code with capitals": (_with(1, planCode="Pro"), "plans[1].planCode"),
    "a code that ends its line": (_with(1, planCode="pro\n"), "plans[1].planCode"),
    "a code too long": (_with(1, planCode="p" * 41), "plans[1].planCode"),
    "an empty name": (_with(1, name=""), "plans[1].name"),
    "a negative amount": (_with(1, amount=-1), "plans[1].amount"),
    "an amount with a fraction": (_with(1, amount=99.5), "plans[1].amount"),
    "an amount as text": (_with(1, amount="9900"), "plans[1].amount"),
    "an amount Stripe does not take": (_with(1, amount=10**8), "plans[1].amount"),
    "a currency in capitals": (_with(1, currency="USD"), "plans[1].currency"),
    "two currencies": (_with(1, currency="eur"), "in more than one currency"),
    "an interval nobody bills by": (_with(1, interval="week"), "plans[1].interval"),
    "a negative trial": (_with(1, trialDays=-1), "plans[1].trialDays"),
    "a trial of three years": (_with(1, trialDays=1095), "plans[1].trialDays"),
    "no trial on starter": (_with(0, trialDays=0), "the plan starter needs 3 trialDays"),
    "too short a trial": (_with(0, trialDays=2), "the plan starter needs 3 trialDays"),
    "no installation": (_with(1, installationLimit=0), "plans[1].installationLimit"),
    "no metric": (_with(1, metrics={}), "plans[1].metrics"),
    "a metric nobody can name": (_with(1, metrics={"API call": {}}), "plans[1].metrics"),
    "negative units": (_metric(1, includedUnits=-1), "includedUnits"),
    "units beyond exact numbers": (_metric(1, includedUnits=2**53), "includedUnits"),
    "an overage nobody knows": (_metric(1, overage="bill"), "overage"),
    "a price where overage blocks": (
        _metric(1, overageUnitAmount="0.05"),
        "pro.api_call needs an overageUnitAmount exactly where overage is allowed",
    ),
    "no price where overage is allowed": (
        _metric(2, overageUnitAmount=None),
        "business.api_call needs an overageUnitAmount exactly where overage is allowed",
    ),
    "a price as a number": (_metric(2, overageUnitAmount=0.05), "overageUnitAmount"),
    **{
        f"a price of {text!r}": (_metric(2, overageUnitAmount=text), "overageUnitAmount")
        for text in ("", "-1", "NaN", "Infinity", "1e3", " 1", "1\n", "1.", ".5", "01", "1" * 7)
    },
    "a price finer than Stripe's": (_metric(2, overageUnitAmount=f"0.{'1' * 13}"), "overageUnit"),
}


@pytest.mark.parametrize(("entries", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_catalogue_is_refused_with_its_reason_and_changes_nothing(
    file: Path, entries: list[dict[str, Any]], says: str
) -> None:
    write(file, entries)

    with nothing_written(), pytest.raises(CommandError) as refused:
        sync(file)

    assert str(refused.value).startswith("plans.json: ")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[]", "Expected `object`"),
        ('{"plans": [], "plans": []}', "has a key twice"),
        ('{"more": 1, "plans": []}', "unknown field `more`"),
    ],
)
def test_what_is_no_catalogue_is_refused_with_its_reason(file: Path, text: str, says: str) -> None:
    file.write_text(text)

    with pytest.raises(CommandError, match="plans.json: ") as refused:
        sync(file)

    assert says in str(refused.value)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(CommandError, match="plans.json: it cannot be read"):
        sync(file)
