"""Builds the gateway when it is first needed, and knows for which kind of process."""

import threading

from django.conf import settings

from billing.stripe_gateway.callers import CallerLimits, Callers
from billing.stripe_gateway.gateway import StripeGateway
from billing.stripe_gateway.protocol import Gateway
from billing.stripe_gateway.transport import Transport

_WORKER_RETRIES = 2

_lock = threading.Lock()
_gateway: Gateway | None = None
_in_worker = False


def get_gateway() -> Gateway:
    """Return the gateway of this process, built from the settings at the first call."""
    global _gateway
    with _lock:
        if _gateway is None:
            worker = _in_worker or settings.PROCESS_ROLE == "worker"
            _gateway = StripeGateway(
                Transport(
                    api_key=settings.STRIPE_API_KEY,
                    base_url=settings.STRIPE_BASE_URL,
                    # Requests share threads with quota checks; a worker is its own.
                    callers=(
                        Callers(CallerLimits(**settings.STRIPE_CALLERS))
                        if settings.PROCESS_ROLE == "web" and not worker
                        else None
                    ),
                    retries=_WORKER_RETRIES if worker else 0,
                )
            )
        return _gateway


def use_as_worker() -> None:
    """Say that nobody waits for this process: no queue, and the client may retry."""
    global _in_worker
    _in_worker = True
    forget_gateway()


def forget_gateway() -> None:
    """Build the gateway again at the next call (settings changed, or a fork)."""
    global _gateway
    with _lock:
        _gateway = None
