"""An owner who signed up over HTTP and changes plans, and what came of it here and at Stripe."""

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from billing import convergence
from billing.models import Operation, Organization, Subscription
from config.contract import clock
from config.contract.ids import new_id
from tests.sandbox.server import Control
from tests.support.cast import Org, data
from tokens.services import activate

#: What a change answers that was not decided: the client is to ask again.
TRY_AGAIN = (502, 503)


@dataclass
class Owner(Org):
    """The owner of an organisation, calling the billing routes."""

    def upgrade(self, plan: str = "pro", *, key: str | None = None, **more: Any) -> Any:
        """POST /api/plans/upgrade."""
        return self._change("upgrade", {"newPlanCode": plan, **more}, key)

    def downgrade(self, plan: str = "starter", *, key: str | None = None) -> Any:
        """POST /api/plans/downgrade."""
        return self._change("downgrade", {"newPlanCode": plan}, key)

    def keep_plan(self) -> Any:
        """DELETE /api/plans/downgrade."""
        return self.client.delete(f"/api/plans/downgrade?orgId={self.id}", headers=self.headers())

    def cancel(self, at: str = "period_end", *, key: str | None = None) -> Any:
        """POST /api/plans/cancel."""
        return self._change("cancel", {"at": at}, key)

    def resume(self, *, key: str | None = None) -> Any:
        """POST /api/plans/resume."""
        return self._change("resume", {}, key)

    def subscribe(self, plan: str = "starter", *, key: str | None = None) -> Any:
        """POST /api/plans/subscribe."""
        return self._change("subscribe", {"planCode": plan}, key)

    def checkout(self, *, key: str | None = None) -> Any:
        """POST /api/plans/checkout."""
        return self._change("checkout", {}, key)

    def preview(self, plan: str, **more: Any) -> Any:
        """POST /api/plans/preview."""
        return self._change("preview", {"planCode": plan, **more}, None)

    def entitlements(self) -> Any:
        """Return the data of GET /api/me/entitlements."""
        return data(self.get("/api/me/entitlements"))

    @property
    def mirror(self) -> Subscription:
        """The newest subscription as it is written down."""
        return Subscription.objects.filter(org_id=self.id).order_by("-created_at", "-pk")[0]

    @property
    def customer_id(self) -> str:
        """The customer at Stripe."""
        return Organization.objects.get(org_id=self.id).stripe_customer_id

    def converge(self) -> None:
        """Look at Stripe, as a webhook would make us."""
        for mirror in Subscription.objects.filter(org_id=self.id):
            convergence.converge(mirror.stripe_subscription_id, because="test")

    def _change(self, verb: str, body: dict[str, Any], key: str | None) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.post(f"/api/plans/{verb}", {"orgId": self.id, **body}, **headers)


def new_owner(name: str = "Acme", *, checkout: bool = False) -> Owner:
    """Sign an organisation up: trialing on starter, with a card that works."""
    signed_up = data(
        Client().post(
            "/api/signup",
            json.dumps({"orgName": name, "email": "owner@acme.example", "checkout": checkout}),
            content_type="application/json",
        )
    )
    tokens = activate(code=signed_up["activationCode"], domain=None, now=clock.real_now())
    return Owner(signed_up["orgId"], tokens)


def paid(sandbox: Control, customer_id: str | None = None) -> list[int]:
    """Return what was charged (to a customer), in order, in minor units."""
    return [
        one["amount_paid"] for one in _of(sandbox, "invoice", customer_id) if one["amount_paid"]
    ]


def live_subscriptions(sandbox: Control, customer_id: str | None = None) -> list[Any]:
    """Return the subscriptions at Stripe that are not over."""
    found = _of(sandbox, "subscription", customer_id)
    return [one for one in found if one["status"] not in Subscription.TERMINAL]


def schedules(sandbox: Control, customer_id: str | None = None) -> list[Any]:
    """Return the schedules at Stripe that still manage a subscription."""
    found = _of(sandbox, "subscription_schedule", customer_id)
    return [one for one in found if one["status"] in ("active", "not_started")]


def _of(sandbox: Control, kind: str, customer_id: str | None) -> list[Any]:
    found = sandbox.objects(kind)
    return [one for one in found if customer_id in (None, one["customer"])]


def unfinished() -> int:
    """Count the operations that are not finished."""
    return Operation.objects.filter(state=Operation.State.STARTED).count()


def use_card(owner: Owner, name: str) -> None:
    """Let the customer be charged on this test card from now on."""
    from config.contract.clients import clients

    gateway = clients.stripe
    customer = owner.customer_id
    card = gateway.attach_payment_method(
        customer_id=customer, payment_method_id=name, idempotency_key=new_id("attach")
    )
    gateway.set_default_payment_method(
        customer_id=customer,
        payment_method_id=card["id"],
        idempotency_key=new_id("default"),
    )
