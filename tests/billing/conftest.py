"""Who changes plans."""

import pytest

from tests.billing.owners import Owner, new_owner
from tests.sandbox.server import Control


@pytest.fixture
def owner(transactional_db: None, sandbox: Control) -> Owner:
    """The owner of an organisation that just signed up: trialing on starter, with a card."""
    return new_owner()
