"""The cast: organisations on a plan, and who calls for them."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from billing import catalogue
from billing.models import Organization, Plan
from config.contract import clock
from config.contract.ids import new_id
from quotas.rules import Allowance
from quotas.services import grant
from tokens import access, scopes, secrets
from tokens.services import IssuedTokens, activate, issue_code


@dataclass
class Org:
    """An organisation with an active subscription and a token that may do everything."""

    id: str
    tokens: IssuedTokens
    client: Client = field(default_factory=Client)

    def headers(self, **more: str) -> dict[str, str]:
        """Return the headers of a call with its token."""
        return {"Authorization": f"Bearer {self.tokens.access_token}", **more}

    def post(self, path: str, body: Any, **headers: str) -> Any:
        """POST JSON with the organisation's token."""
        return self.client.post(
            path, json.dumps(body), content_type="application/json", headers=self.headers(**headers)
        )

    def get(self, path: str, **headers: str) -> Any:
        """GET with the organisation's token."""
        return self.client.get(path, headers=self.headers(**headers))

    def use(self, value: int = 1, *, request_id: str | None = None, **more: Any) -> Any:
        """Report use of `api_call` over HTTP."""
        body = {
            "orgId": self.id,
            "metric": "api_call",
            "value": value,
            "occurredAt": clock.now().isoformat(),
            "request_id": request_id or new_id("req"),
        }
        return self.post("/api/v1/usage", {**body, **more})

    def check_from(self, origin: str) -> Any:
        """Ask as a browser on a page of `origin` does."""
        body = {"orgId": self.id, "metric": "api_call"}
        return self.post("/api/quota/check", body, Origin=origin)

    def check(self, value: int = 1, **more: Any) -> Any:
        """Ask whether `api_call` may be used."""
        body = {"orgId": self.id, "metric": "api_call", "value": value, **more}
        return self.post("/api/quota/check", body)


def make_org(
    *,
    plan: str = "starter",
    status: str = "active",
    included: int | None = None,
    token_scopes: tuple[str, ...] = scopes.OWNER,
    domain: str = "",
    now: datetime | None = None,
    **granted: Any,
) -> Org:
    """Make an organisation as sign-up leaves it, without asking Stripe.

    `included` overrides what the plan includes of `api_call`.
    """
    now = now or clock.now()
    org_id = new_id("org")
    row = Plan.objects.prefetch_related("metrics").get(code=plan)
    allowances = catalogue.allowances_of(row)
    if included is not None:
        allowances["api_call"] = Allowance(included, allowances["api_call"].overage)
    if status == "trialing":
        granted.setdefault("trial_ends_at", now + timedelta(days=14))
    if status == "past_due":
        granted.setdefault("past_due_since", now)
    with transaction.atomic():
        Organization.objects.create(
            org_id=org_id,
            name="Acme",
            email="owner@acme.example",
            stripe_customer_id=f"cus_{org_id}",
            created_at=now,
        )
        access.open_access(org_id, installation_limit=row.installation_limit)
        grant(
            org_id=org_id,
            plan_code=plan,
            status=status,
            allowances=allowances,
            because="test",
            now=now,
            anchor_at=granted.pop("anchor_at", now),
            **granted,
        )
    return Org(org_id, tokens_for(org_id, token_scopes, domain=domain))


def tokens_for(org_id: str, token_scopes: tuple[str, ...], *, domain: str = "") -> IssuedTokens:
    """Issue and activate a code."""
    code = secrets.new_code()
    now = clock.real_now()
    issue_code(
        org_id=org_id, code=code, scopes=token_scopes, issued_by="test", now=now, domain=domain
    )
    return activate(code=code, domain=domain or None, now=now)


def data(response: Any) -> Any:
    """Return the data of a success answer."""
    body = json.loads(response.content)
    assert body["ok"] is True, body
    return body["data"]


def error(response: Any) -> Any:
    """Return the error of an answer in the envelope."""
    body = json.loads(response.content)
    assert body["ok"] is False, body
    assert set(body["meta"]) == {"requestId", "correlationId"}
    assert body["meta"]["requestId"] == response.headers["x-request-id"]
    return body["error"]


@pytest.fixture
def org(transactional_db: None) -> Org:
    """An organisation on starter: 10,000 calls included."""
    return make_org()


@pytest.fixture
def stranger(transactional_db: None) -> Org:
    """Another organisation, which has nothing to do with the first."""
    return make_org()
