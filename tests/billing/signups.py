"""Signing up over HTTP, and what is to be seen of it here and at Stripe."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from billing.models import IdempotencyKey, Operation, Organization, Subscription
from config.celery import app
from quotas.models import Entitlement, UsageCounter
from tests.sandbox.server import Control
from tokens.models import ActivationCode, OrgAccess

EMAIL = "owner@acme.example"
BODY: dict[str, Any] = {"orgName": "Acme", "email": EMAIL}


def sign_up(key: str | None = None, **more: Any) -> Any:
    """POST /api/signup; fields given override those of BODY."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return Client().post(
        "/api/signup",
        json.dumps({**BODY, **more}),
        content_type="application/json",
        headers=headers,
    )


def replayed(response: HttpResponse) -> bool:
    """Tell whether an answer says that it was given before."""
    return response.headers.get("Idempotent-Replayed") == "true"


def visible() -> dict[str, int]:
    """Count what a caller, or staff, could see of sign-ups."""
    models = (Organization, Entitlement, UsageCounter, OrgAccess, ActivationCode)
    return {model.__name__: model.objects.count() for model in models}


NOTHING = dict.fromkeys(
    ("Organization", "Entitlement", "UsageCounter", "OrgAccess", "ActivationCode"), 0
)
ONE = {
    "Organization": 1,
    "Entitlement": 1,
    "UsageCounter": 2,
    "OrgAccess": 1,
    "ActivationCode": 1,
}


def at_stripe(sandbox: Control) -> tuple[int, int]:
    """Count customers and subscriptions at the sandbox."""
    objects = sandbox.state()["objects"]
    return objects.get("customer", 0), objects.get("subscription", 0)


def the_subscription(sandbox: Control) -> dict[str, Any]:
    """Return the sandbox's view of the one subscription that is mirrored here."""
    return sandbox.show(Subscription.objects.get().stripe_subscription_id)


def let_the_lease_run_out() -> None:
    """Move every lease into the past, as a minute would."""
    past = Operation.objects.get().lease_until - timedelta(minutes=2)
    Operation.objects.update(lease_until=past)


def age_keys(by: timedelta) -> None:
    """Let Idempotency-Keys have been made earlier."""
    for key in IdempotencyKey.objects.all():
        IdempotencyKey.objects.filter(pk=key.pk).update(created_at=key.created_at - by)


def away_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the broker be where nobody listens."""
    monkeypatch.setitem(app.conf, "broker_write_url", "redis+socket:///nowhere/valkey.sock")
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    monkeypatch.setattr(app, "_pool", None)
