"""Who changes plans, and at which length."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.billing import catalogues, doctors
from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    return new_owner()


@pytest.fixture
def annual_plans(transactional_db: None, sandbox: Control, tmp_path: Path) -> Iterator[None]:
    """Pro and business are sold by the year as well."""
    with catalogues.selling(tmp_path / "plans.json", catalogues.annual()):
        yield


@pytest.fixture
def healthy(transactional_db: None, sandbox: Control) -> Iterator[Control]:
    """A Stripe where everything is as it should be."""
    sandbox.deliver_to(doctors.URL)
    yield sandbox
    sandbox.deliver_to(None)


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the torture tests were asked for (`./dev test -m torture`): all, not a sample."""
    return "torture" in str(request.config.getoption("-m"))
