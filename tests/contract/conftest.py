"""The cast of the contract suite: each organisation has an installation to spare."""

import pytest

from tests.contract.calls import SPARE_FAMILIES
from tests.contract.credentials import admit_the_operator
from tests.support.cast import Org, tokens_for
from tokens import scopes


def _with_a_spare_family(org: Org) -> Org:
    admit_the_operator()
    SPARE_FAMILIES[org.id] = tokens_for(org.id, scopes.OWNER).family.id
    return org


@pytest.fixture
def org(org: Org) -> Org:
    """An organisation on starter, with a second installation."""
    return _with_a_spare_family(org)


@pytest.fixture
def stranger(stranger: Org) -> Org:
    """Another organisation, with a second installation."""
    return _with_a_spare_family(stranger)
