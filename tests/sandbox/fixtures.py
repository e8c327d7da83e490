"""`sandbox` and `gateway`, for every suite that talks to Stripe."""

from collections.abc import Iterator

import pytest
from django.conf import settings

from billing.stripe_gateway import StripeGateway, forget_gateway
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from tests.sandbox.server import Control, running_sandbox


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Control]:
    """One sandbox per test process, with the settings' key and secret."""
    with running_sandbox(
        api_key=settings.STRIPE_API_KEY, webhook_secret=settings.STRIPE_WEBHOOK_SECRETS[0]
    ) as control:
        yield control


@pytest.fixture
def sandbox(sandbox_process: Control, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    """An empty sandbox that the settings, and so the installation's gateway, point to."""
    sandbox_process.reset()
    monkeypatch.setattr(settings, "STRIPE_BASE_URL", sandbox_process.url)
    forget_gateway()
    made = StripeGateway(Transport(api_key=settings.STRIPE_API_KEY, base_url=sandbox_process.url))
    with clients.swapped("stripe", made):
        yield sandbox_process
    forget_gateway()


@pytest.fixture
def gateway(sandbox: Control) -> StripeGateway:
    """The gateway that talks to the sandbox."""
    found: StripeGateway = clients.stripe
    return found
