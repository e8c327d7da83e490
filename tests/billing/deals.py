"""Catalogues whose prices change, and prices that were made past the catalogue."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from billing.models import Plan
from config.contract.clients import clients
from config.contract.ids import new_id
from tests.billing.catalogues import SHIPPED, plans, sync, write
from tests.billing.owners import Owner

Json = dict[str, Any]


@contextmanager
def kept_catalogue() -> Iterator[None]:
    """Leave the catalogue as it was found: it is not cleaned between tests."""
    try:
        yield
    finally:
        Plan.objects.exclude(code__in=[plan["planCode"] for plan in SHIPPED["plans"]]).delete()
        sync()


def reprice(folder: Path, amounts: Mapping[str, int], *, overage: str | None = None) -> list[str]:
    """Sell plans at other amounts, here and at Stripe; returns what the command said.

    `overage` is what a call past business then costs.
    """
    entries = plans()
    for entry in entries:
        entry["amount"] = amounts.get(entry["planCode"], entry["amount"])
        if overage is not None and entry["planCode"] == "business":
            entry["metrics"]["api_call"]["overageUnitAmount"] = overage
    return sync(write(folder / "plans.json", entries), "--stripe")


def make_price(product_id: str, amount: int, **more: Any) -> Json:
    """Make a monthly price at Stripe, as somebody might on the Dashboard."""
    params: Any = {
        "product": product_id,
        "unit_amount": amount,
        "currency": "usd",
        **more,
        "recurring": {"interval": "month", **more.get("recurring", {})},
    }
    made: Json = clients.stripe._call("prices.create", lambda c: c.v1.prices.create(params))
    return made


def make_product(name: str = "Support", **metadata: str) -> str:
    """Make a product at Stripe that we know nothing of."""
    params: Any = {"name": name, "metadata": metadata}
    made = clients.stripe._call("products.create", lambda c: c.v1.products.create(params))
    return str(made["id"])


def edit(owner: Owner, *items: Json, **more: Any) -> Json:
    """Change the items of the owner's subscription, as somebody might on the Dashboard."""
    params: Any = {"items": list(items), "proration_behavior": "none", **more}
    subscription_id = owner.mirror.stripe_subscription_id
    changed: Json = clients.stripe._call(
        "subscriptions.update", lambda c: c.v1.subscriptions.update(subscription_id, params)
    )
    return changed


def at_stripe(owner: Owner) -> Json:
    """Return the owner's subscription as Stripe has it."""
    found: Json = clients.stripe.retrieve_subscription(
        subscription_id=owner.mirror.stripe_subscription_id
    )
    return found


def prices_of(owner: Owner) -> list[str]:
    """Return the prices of its items, in order."""
    return [item["price"]["id"] for item in at_stripe(owner)["items"]["data"]]


def key() -> str:
    """Return a fresh idempotency key."""
    return new_id("key")
