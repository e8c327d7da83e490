"""Which plan a price at Stripe sells: known for every price that a plan was ever sold at.

A price that the catalogue no longer sells is still the deal of whoever subscribed
at it. So each one is remembered (PlanPrice) when it is made, first sold, or met,
and a subscription's plan is found by that row, never by what the catalogue says
today.

A price that is not remembered yet sells the plan that its `plan_code` metadata or
its lookup key names. One that says neither sells the plan whose product it is of:
that is what a price of ours looks like whose lookup key was taken over. One whose
key names something else is of no plan.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing.models import Plan, PlanPrice
from billing.stripe_gateway import Gateway, StripeNotFound

Json = dict[str, Any]
_OVERAGE = "overage"


def overage_key(plan_code: str, metric: str) -> str:
    """Return the lookup key of the metered price at which a plan's overage is sold."""
    return f"{plan_code}.{metric}.{_OVERAGE}"


def product_id(plan_code: str) -> str:
    """Return the id of the product that we make for a plan."""
    return f"prod_{plan_code}"


def by_id(price_ids: Iterable[str]) -> dict[str, PlanPrice]:
    """Return those of the prices that are remembered, by their id."""
    return PlanPrice.objects.in_bulk(list(set(price_ids)), field_name="stripe_price_id")


def identified(prices: Iterable[Json]) -> dict[str, PlanPrice]:
    """Return the plans' prices among prices of Stripe's, by their id; asks nobody.

    One that is not remembered yet is identified by what it says, where that names a
    plan that is known here; its row is not saved.
    """
    at_stripe = {price["id"]: price for price in prices}
    known = by_id(at_stripe)
    unknown = [price for id_, price in at_stripe.items() if id_ not in known]
    if unknown:
        products = _our_products()
        for price in unknown:
            plan_price = _identify(price, products)
            if plan_price is not None:
                known[plan_price.stripe_price_id] = plan_price
    return known


def find(gateway: Gateway, prices: Iterable[Json], *, now: datetime) -> dict[str, PlanPrice]:
    """Return the plans' prices among these (whole) prices of Stripe's, as met at `now`.

    As `identified`, but where one says nothing of itself, Stripe is asked for its
    product. Raises the gateway's errors. No transaction open.
    """
    at_stripe = {price["id"]: price for price in prices}
    known = identified(at_stripe.values())
    unknown = [price for id_, price in at_stripe.items() if id_ not in known]
    products = _our_products() if unknown else {}
    metrics: dict[str, str] | None = None
    for price in unknown:
        product = _id(price.get("product"))
        if product not in products and _is_silent(price):
            products[product] = _plan_of_product(gateway, product)
        if metrics is None and products.get(product) and _wants_metric(price):
            metrics = {one["id"]: one["event_name"] for one in gateway.list_meters()}
        plan_price = _identify(price, products, metrics)
        if plan_price is not None:
            known[plan_price.stripe_price_id] = plan_price
    for id_, plan_price in known.items():
        price = at_stripe[id_]
        if plan_price.pk is None and not (price["active"] and price["lookup_key"]):
            plan_price.sold_until = now
    return known


def learn(gateway: Gateway, prices: Iterable[Json], *, now: datetime) -> None:
    """Find the plans' prices among these and remember them. As `find`."""
    _remember(find(gateway, prices, now=now))


def learn_of_items(gateway: Gateway, prices: Iterable[Json], *, now: datetime) -> None:
    """Remember the plans' prices among those of one subscription. As `learn`.

    Where one is found to sell the plan, Stripe is not asked of the add-ons beside it, but
    of a metered price of the same product that does not say what it meters.
    """
    prices = list(prices)
    known = identified(prices)
    own = [price for price in prices if price["id"] in known and known[price["id"]].is_plans_own]
    products = {_id(price.get("product")) for price in own}
    unknown = [
        price
        for price in prices
        if price["id"] not in known
        and (not own or (_wants_metric(price) and _id(price.get("product")) in products))
    ]
    _remember(known | find(gateway, unknown, now=now) if unknown else known)


def _remember(known: Mapping[str, PlanPrice]) -> None:
    for plan_price in known.values():
        if plan_price.pk is None:
            remember(plan_price)


def remember(plan_price: PlanPrice) -> PlanPrice:
    """Save what was found out about a price; whose plan it is stays as it was known first."""
    row, _ = PlanPrice.objects.get_or_create(
        stripe_price_id=plan_price.stripe_price_id,
        defaults={
            field.attname: getattr(plan_price, field.attname)
            for field in PlanPrice._meta.concrete_fields
            if not field.primary_key and field.attname != "stripe_price_id"
        },
    )
    return row


def put_on_sale(price: Json, *, plan_code: str, metric: str = "", now: datetime) -> PlanPrice:
    """Remember that a plan (or use past it) is sold at this price from `now` on, at no other."""
    plan_price = remember(_row(price, plan_code, metric))
    others = PlanPrice.objects.filter(plan_code=plan_code, metric=metric, sold_until=None)
    others.exclude(pk=plan_price.pk).update(sold_until=now)
    if plan_price.sold_until is not None:
        plan_price.sold_until = None
        plan_price.save(update_fields=["sold_until"])
    return plan_price


def amount_of(price: Json) -> Decimal | None:
    """Return what a unit costs, in minor units, fractions kept; None where that depends."""
    amount = price.get("unit_amount_decimal")
    amount = price.get("unit_amount") if amount is None else amount
    return None if amount is None else Decimal(amount)


def _identify(
    price: Json, products: Mapping[str, str], metrics: Mapping[str, str] | None = None
) -> PlanPrice | None:
    recurring = price.get("recurring") or {}
    if not recurring:
        return None
    metadata = price.get("metadata") or {}
    key = str(price.get("lookup_key") or "")
    code, metric = _named(key)
    code = str(metadata.get("plan_code") or code or ("" if key else _of_product(price, products)))
    if not code or not Plan.objects.filter(code=code).exists():
        return None
    if recurring.get("usage_type") != "metered":
        return _row(price, code, "")
    meter = str(recurring.get("meter") or "")
    metric = str(metadata.get("metric") or metric or (metrics or {}).get(meter, ""))
    return _row(price, code, metric) if metric else None


def _named(lookup_key: str) -> tuple[str, str]:
    """Return the plan and the metric that a lookup key of ours names."""
    match lookup_key.split("."):
        case [code]:
            return code, ""
        case [code, metric, kind] if kind == _OVERAGE:
            return code, metric
    return "", ""


def _of_product(price: Json, products: Mapping[str, str]) -> str:
    return products.get(_id(price.get("product")), "")


def _is_silent(price: Json) -> bool:
    return not price.get("lookup_key") and not (price.get("metadata") or {}).get("plan_code")


def _wants_metric(price: Json) -> bool:
    metadata = price.get("metadata") or {}
    metered = (price.get("recurring") or {}).get("usage_type") == "metered"
    # One whose key names something else is of no plan, whatever its meter.
    is_ours = metadata.get("plan_code") or not price.get("lookup_key")
    return bool(metered and is_ours and not metadata.get("metric"))


def _our_products() -> dict[str, str]:
    return {product_id(code): code for code in Plan.objects.values_list("code", flat=True)}


def _plan_of_product(gateway: Gateway, product: str) -> str:
    try:
        found = gateway.retrieve_product(product_id=product)
    except StripeNotFound:
        return ""
    return str((found.get("metadata") or {}).get("plan_code") or "")


def _row(price: Json, plan_code: str, metric: str) -> PlanPrice:
    recurring = price.get("recurring") or {}
    created = price.get("created")
    return PlanPrice(
        stripe_price_id=price["id"],
        plan_code=plan_code,
        metric=metric,
        unit_amount=amount_of(price),
        currency=price["currency"],
        interval=recurring["interval"],
        interval_count=recurring.get("interval_count") or 1,
        sold_since=datetime.fromtimestamp(created, UTC) if created else None,
    )


def _id(reference: Any) -> str:
    if reference is None:
        return ""
    return str(reference["id"] if isinstance(reference, dict) else reference)
