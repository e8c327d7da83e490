"""Who we are to Stripe: mode, key, account, webhook secrets, and whether our clocks agree."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.conf import settings

from billing.doctor.findings import LIVE_KEYS, TEST_KEYS, Finding
from billing.stripe_gateway import Gateway

#: Signatures are good for five minutes: a clock this wrong has used up a fifth of them.
MOST_SKEW = timedelta(seconds=60)
_PUBLISHABLE = "pk_"


def mode() -> Iterator[Finding]:
    """Look at STRIPE_MODE, and whether the key is one of that mode."""
    where = settings.STRIPE_BASE_URL or "https://api.stripe.com"
    key = settings.STRIPE_API_KEY
    is_live_key = key.startswith(LIVE_KEYS)
    sandbox = settings.STRIPE_MODE == "sandbox"
    yield Finding("mode", True, f"{settings.STRIPE_MODE}, {where}")
    if key.startswith(_PUBLISHABLE):
        told = "a publishable key, made for browsers: it may do nothing of what we ask"
        yield Finding("key's mode", False, told)
    elif sandbox and is_live_key:
        yield Finding("key's mode", False, "a live key has no business in the sandbox")
    elif is_live_key or key.startswith(TEST_KEYS):
        charges = "charges real money" if is_live_key else "test mode: charges nobody"
        yield Finding("key's mode", True, charges)
    else:
        yield Finding("key's mode", sandbox, "neither a live nor a test key of Stripe's")


def secrets() -> Iterator[Finding]:
    """Look at the webhook secrets; none is said."""
    held = settings.STRIPE_WEBHOOK_SECRETS
    odd = [number for number, one in enumerate(held, 1) if not one.startswith("whsec_")]
    if not held:
        yield Finding("webhook secrets", False, "STRIPE_WEBHOOK_SECRETS is empty")
    elif odd:
        numbers = ", ".join(map(str, odd))
        yield Finding("webhook secrets", False, f"number {numbers} does not begin with whsec_")
    else:
        yield Finding("webhook secrets", True, f"{len(held)}, any of which may sign")


def key(gateway: Gateway) -> Iterator[Finding]:
    """Use the key."""
    gateway.list_products()
    yield Finding("key", True, "accepted")


def account(gateway: Gateway) -> Iterator[Finding]:
    """Look whose key it is. STRIPE_ACCOUNT says whose it has to be."""
    account_id = gateway.retrieve_account()["id"]
    wanted = settings.STRIPE_ACCOUNT
    if wanted and account_id != wanted:
        yield Finding("account", False, f"the key is of {account_id}, not of {wanted}")
    else:
        yield Finding("account", True, f"{account_id}")


def clocks(gateway: Gateway, real_now: Callable[[], datetime]) -> Iterator[Finding]:
    """Compare our clock with Stripe's."""
    skew = real_now() - gateway.server_time()
    seconds = round(skew.total_seconds())
    yield Finding("clock", abs(skew) <= MOST_SKEW, f"{seconds:+d} s against Stripe's")
