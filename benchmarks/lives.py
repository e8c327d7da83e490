"""Subscriptions whose lives Stripe has to tell us about: what to deliver, and how they end."""

import hashlib
import hmac
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.conf import settings

Json = dict[str, Any]
#: Bought, made dearer, and to end with the month: three changes that Stripe tells us about.
_FIRST, _THEN = "pro", "business"
#: At least so many events tell of one.
TOLD = 6


_AGREEING = """
    SELECT s.stripe_subscription_id
      FROM billing_subscription s JOIN quotas_entitlement e ON e.org_id = s.org_id
     WHERE s.stripe_subscription_id = ANY(%s)
       AND s.status = 'active' AND s.plan_code = %s AND s.cancel_at IS NOT NULL
       AND e.status = 'active' AND e.plan_code = %s AND e.ends_at = s.cancel_at
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event, and the subscription that must be as Stripe has it once it is processed."""

    event_id: str
    body: bytes
    subscription_id: str

    def signature(self) -> str:
        """Sign it as Stripe does, now."""
        at, secret = int(time.time()), settings.STRIPE_WEBHOOK_SECRETS[0]
        signed = hmac.new(secret.encode(), f"{at}.".encode() + self.body, hashlib.sha256)
        return f"t={at},v1={signed.hexdigest()}"


def live(count: int) -> list[Delivery]:
    """Let so many subscriptions live; returns what Stripe tells of them, in no order."""
    with ThreadPoolExecutor(4) as pool:
        subscriptions = set(pool.map(_live, range(count)))
    told = [one for event in _events() if (one := _delivery(event, subscriptions))]
    random.Random(count).shuffle(told)
    return told


def _live(_number: int) -> str:
    from billing.models import Organization
    from billing.stripe_gateway import Gateway
    from config.contract import clock
    from config.contract.clients import clients
    from config.contract.ids import new_id

    gateway: Gateway = clients.stripe
    org_id = new_id("org")
    customer_id = gateway.ensure_customer(
        org_id=org_id, email=f"{org_id}@acme.example", name="Acme", idempotency_key=f"{org_id}:1"
    )
    Organization.objects.create(
        org_id=org_id,
        name="Acme",
        email=f"{org_id}@acme.example",
        stripe_customer_id=customer_id,
        created_at=clock.now(),
    )
    prices = {plan: _price(gateway, plan) for plan in (_FIRST, _THEN)}
    made = gateway.create_subscription(
        customer_id=customer_id,
        price_id=prices[_FIRST],
        org_id=org_id,
        idempotency_key=f"{org_id}:2",
        payment_behavior="error_if_incomplete",
    )
    gateway.change_subscription(
        subscription_id=made["id"],
        item_id=made["items"]["data"][0]["id"],
        price_id=prices[_THEN],
        idempotency_key=f"{org_id}:3",
    )
    gateway.set_cancel_at_period_end(
        subscription_id=made["id"], cancel=True, idempotency_key=f"{org_id}:4"
    )
    return str(made["id"])


def _price(gateway: Any, plan: str) -> str:
    found = gateway.find_price(lookup_key=plan)
    return str(found["id"])


def _events() -> list[Json]:
    """Return all that Stripe lists of the types that are worked on."""
    from billing.stripe_gateway import Gateway
    from config.contract.clients import clients
    from webhooks.handlers import STRIPES_TYPES

    gateway: Gateway = clients.stripe
    now, found = int(time.time()), []
    for first in range(0, len(STRIPES_TYPES), 20):
        after: str | None = None
        while True:
            page = gateway.list_events(
                types=STRIPES_TYPES[first : first + 20],
                created_from=now - 86_400,
                created_to=now + 60,
                starting_after=after,
            )
            found += page["data"]
            if not page["has_more"]:
                break
            after = page["data"][-1]["id"]
    return found


def _delivery(event: Json, subscriptions: set[str]) -> Delivery | None:
    about = event["data"]["object"]
    parent = (about.get("parent") or {}).get("subscription_details") or {}
    is_one = about["object"] == "subscription"
    subscription_id = about["id"] if is_one else parent.get("subscription")
    if subscription_id not in subscriptions:
        return None
    body = json.dumps(event, separators=(",", ":")).encode()
    return Delivery(event["id"], body, subscription_id)


def agreeing(cursor: Any, subscription_ids: set[str]) -> set[str]:
    """Return those whose mirror and entitlement are what `live` led to."""
    cursor.execute(_AGREEING, [list(subscription_ids), _THEN, _THEN])
    return {subscription_id for (subscription_id,) in cursor.fetchall()}
