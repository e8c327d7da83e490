"""Making at Stripe what the plans are sold at: products, prices, and meters for overage.

A price at Stripe never changes. One that costs something else than the catalogue
says is left to those who are on it, and another takes its lookup key over: a new
one, or one that the plan was sold at before. Every price of a plan that is met on
the way is remembered (billing.known_prices).
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

from uuid_utils.compat import uuid7

from billing import known_prices, prices
from billing.known_prices import overage_key
from billing.models import Plan, PlanPrice
from billing.stripe_gateway import Gateway, StripeNotFound
from config.contract import clock
from config.contract.clients import clients

Json = dict[str, Any]


def publish(*, dry_run: bool) -> Iterator[str]:
    """Make what is missing at Stripe, yielding each thing in words. Safe to repeat.

    Raises the gateway's errors. No transaction open.
    """
    gateway: Gateway = clients.stripe
    products = {(one["metadata"] or {}).get("plan_code"): one for one in gateway.list_products()}
    meters = {one["event_name"]: one["id"] for one in gateway.list_meters()}
    for plan in Plan.objects.prefetch_related("metrics"):
        product = products.get(plan.code) or _unnamed_product(gateway, plan)
        if product is None and not plan.on_sale:
            continue
        yield from _product(gateway, plan, product, dry_run=dry_run)
        product_id = product["id"] if product else known_prices.product_id(plan.code)
        shelf = gateway.list_all_prices(product_id=product_id) if product else []
        yield from _remember(gateway, shelf, meters, dry_run=dry_run)
        if not plan.on_sale:
            continue
        publisher = _Publisher(gateway, plan, product_id, shelf, dry_run=dry_run)
        yield from publisher.sell("", Decimal(plan.amount))
        for one in plan.metered_allowances():
            if one.metric not in meters:
                yield f"meter {one.metric}"
                meters[one.metric] = "" if dry_run else _meter(gateway, one.metric)
            each = one.overage_unit_amount or Decimal(0)
            yield from publisher.sell(one.metric, each, meter_id=meters[one.metric])


def _unnamed_product(gateway: Gateway, plan: Plan) -> Json | None:
    """Return the product of our id where it is archived, or does not say whose it is."""
    try:
        return gateway.retrieve_product(product_id=known_prices.product_id(plan.code))
    except StripeNotFound:
        return None


def _product(gateway: Gateway, plan: Plan, product: Json | None, *, dry_run: bool) -> Iterator[str]:
    if product is None:
        yield f"product {plan.code}"
        if not dry_run:
            gateway.create_product(
                product_id=known_prices.product_id(plan.code),
                name=plan.name,
                plan_code=plan.code,
                idempotency_key=_key(),
            )
        return
    named = (product["metadata"] or {}).get("plan_code") == plan.code
    sold = product["active"] or not plan.on_sale
    if named and sold:
        return
    yield f"product {plan.code}: " + ("its plan_code" if sold else "sold again")
    if not dry_run:
        gateway.update_product(
            product_id=product["id"],
            active=None if sold else True,
            metadata={"plan_code": plan.code},
            idempotency_key=_key(),
        )


def _remember(
    gateway: Gateway, shelf: list[Json], meters: dict[str, str], *, dry_run: bool
) -> Iterator[str]:
    """Remember the prices of a plan's product; let each say at Stripe what it is."""
    if not dry_run:
        known_prices.learn(gateway, shelf, now=clock.now())
    known = known_prices.identified(shelf)
    for price in shelf:
        plan_price = known.get(price["id"])
        if plan_price is None or _says(price, plan_price):
            continue
        yield f"plan_code {plan_price.plan_code} on price {price['id']}"
        if not dry_run:
            gateway.update_price(
                price_id=price["id"],
                metadata=_metadata(plan_price.plan_code, plan_price.metric),
                idempotency_key=_key(),
            )


class _Publisher:
    """Sells one plan at what the catalogue says, by the prices that its product has."""

    def __init__(
        self, gateway: Gateway, plan: Plan, product_id: str, shelf: list[Json], *, dry_run: bool
    ) -> None:
        self._gateway = gateway
        self._plan = plan
        self._product_id = product_id
        self._shelf = shelf
        self._dry_run = dry_run

    def sell(self, metric: str, amount: Decimal, *, meter_id: str | None = None) -> Iterator[str]:
        """Have the plan (or its use past it) sold at this amount, in minor units."""
        plan = self._plan
        key = overage_key(plan.code, metric) if metric else plan.code
        current = self._gateway.find_price(lookup_key=key)
        if current is None or not prices.sells(current, plan, amount, meter_id=meter_id):
            unit = "unit" if metric else "period"
            yield f"price {key} at {amount.normalize():f} {plan.currency} per {unit}"
            if self._dry_run:
                return
            if current is not None:
                # It says whose it is by the key that is about to be taken from it.
                known_prices.learn(self._gateway, [current], now=clock.now())
            current = self._again(key, metric, amount, meter_id)
            current = current or self._new(key, metric, amount, meter_id)
        if self._dry_run:
            return
        if metric:
            known_prices.put_on_sale(current, plan_code=plan.code, metric=metric, now=clock.now())
        else:
            prices.sell_at(plan, current, now=clock.now())

    def _again(self, key: str, metric: str, amount: Decimal, meter_id: str | None) -> Json | None:
        """Sell at a price that the plan had before and that costs the same, if there is one."""
        plan, known = self._plan, known_prices.by_id(price["id"] for price in self._shelf)
        for price in self._shelf:
            row = known.get(price["id"])
            if (
                row is not None
                and (row.plan_code, row.metric) == (plan.code, metric)
                and prices.sells(price, plan, amount, meter_id=meter_id)
            ):
                return self._gateway.update_price(
                    price_id=price["id"],
                    active=True,
                    lookup_key=key,
                    metadata=_metadata(plan.code, metric),
                    idempotency_key=_key(),
                )
        return None

    def _new(self, key: str, metric: str, amount: Decimal, meter_id: str | None) -> Json:
        interval: Literal["month", "year"] = "year" if self._plan.interval == "year" else "month"
        return self._gateway.create_price(
            product_id=self._product_id,
            lookup_key=key,
            amount=f"{amount.normalize():f}",
            currency=self._plan.currency,
            interval=interval,
            meter_id=meter_id,
            metadata=_metadata(self._plan.code, metric),
            idempotency_key=_key(),
        )


def _metadata(plan_code: str, metric: str) -> dict[str, str]:
    return {"plan_code": plan_code} | ({"metric": metric} if metric else {})


def _says(price: Json, plan_price: PlanPrice) -> bool:
    metadata = price["metadata"] or {}
    wanted = _metadata(plan_price.plan_code, plan_price.metric)
    return all(metadata.get(name) == value for name, value in wanted.items())


def _meter(gateway: Gateway, metric: str) -> str:
    made = gateway.create_meter(event_name=metric, display_name=metric, idempotency_key=_key())
    found: str = made["id"]
    return found


def _key() -> str:
    # Looked for before it is made, each time: a key of its name would answer with
    # an older price of the same amount for a day.
    return f"publish:{uuid7()}"
