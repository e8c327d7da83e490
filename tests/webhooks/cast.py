"""Deliveries of Stripe's events, signed, through the real intake."""

import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

from django.conf import settings
from django.test import Client

from billing.models import Subscription
from config.contract import clock
from config.contract.ids import new_id
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tokens.services import IssuedTokens, activate
from webhooks import processor

PATH = "/api/webhooks/stripe"

#: One for all: a new one loads the middleware, and that reads every static file.
client = cache(Client)


def signature(body: bytes, *, secret: str | None = None, at: float | None = None) -> str:
    """Sign as Stripe does."""
    secret = settings.STRIPE_WEBHOOK_SECRETS[0] if secret is None else secret
    at = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def encoded(event: Any) -> bytes:
    """Write an event as it goes over the wire."""
    return json.dumps(event, separators=(",", ":")).encode()


def send(body: bytes, header: str | None, **headers: str) -> Any:
    """POST raw bytes to the intake."""
    given = headers if header is None else {"Stripe-Signature": header, **headers}
    return client().generic("POST", PATH, body, content_type="application/json", headers=given)


def deliver(event: Any, **headers: str) -> Any:
    """Deliver one event as Stripe would; returns the data of the answer."""
    body = encoded(event)
    response = send(body, signature(body), **headers)
    assert response.status_code == 202, response.content
    return data(response)


def an_event(type_: str = "customer.created", **more: Any) -> dict[str, Any]:
    """Return an event about an object that exists nowhere."""
    about = more.pop("about", {"id": "cus_1", "object": "customer"})
    return {
        "id": new_id("evt"),
        "object": "event",
        "type": type_,
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": about},
        **more,
    }


def work_off() -> int:
    """Work on everything due, as the sweeper does; returns how many claims that took."""
    done = 0
    while processor.process_next():
        done += 1
    return done


def sign_up(name: str = "Acme", **more: Any) -> Org:
    """Sign an organisation up over the API; its subscription at Stripe is a trial."""
    answer = data(
        client().post(
            "/api/signup",
            json.dumps({"orgName": name, "email": "owner@acme.example", **more}),
            content_type="application/json",
        )
    )
    tokens: IssuedTokens = activate(
        code=answer["activationCode"], domain=None, now=clock.real_now()
    )
    return Org(answer["orgId"], tokens)


def mirror(org: Org) -> Subscription:
    """Return the mirror of the organisation's only subscription."""
    return Subscription.objects.get(org_id=org.id)


def news(sandbox: Control, *, since: int = 0) -> list[Any]:
    """Return the events Stripe recorded after the first `since`, oldest first."""
    return sandbox.events()[since:]
