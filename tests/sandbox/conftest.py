"""The sandbox's own suite uses the fixtures it offers to others."""

import pytest

from billing.stripe_gateway import StripeGateway
from tests.sandbox.cast import Subscriber
from tests.sandbox.fixtures import gateway, sandbox, sandbox_process

__all__ = ["gateway", "sandbox", "sandbox_process"]


@pytest.fixture
def subscriber(gateway: StripeGateway) -> Subscriber:  # noqa: F811 (a fixture by its name)
    """A customer with a working card."""
    return Subscriber(gateway)
