"""Who opens links."""

import pytest

from tests.billing.owners import Owner, new_owner
from tests.portal.cast import Visitor, visitor_of
from tests.sandbox.server import Control
from tests.support.cast import Org


@pytest.fixture
def visitor(org: Org) -> Visitor:
    """Somebody who opened a link of an organisation that Stripe does not know."""
    return visitor_of(org)


@pytest.fixture
def owner(sandbox: Control, transactional_db: None) -> Owner:
    """An owner who signed up: trialing on starter, with a card that works."""
    return new_owner()


@pytest.fixture
def owners_visit(owner: Owner) -> Visitor:
    """The owner's browser."""
    return visitor_of(owner)
