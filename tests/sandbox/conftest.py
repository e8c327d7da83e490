"""Who subscribes in the sandbox's own suite."""

import pytest

from billing.stripe_gateway import StripeGateway
from tests.sandbox.cast import Subscriber


@pytest.fixture
def subscriber(gateway: StripeGateway) -> Subscriber:
    """A customer with a working card."""
    return Subscriber(gateway)
