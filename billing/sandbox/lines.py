"""Invoice lines: whole periods, metered use, and prorations of a changed item."""

from decimal import Decimal
from fractions import Fraction

from billing.sandbox import discounts, pricing, taxes
from billing.sandbox.periods import in_words
from billing.sandbox.shapes import Obj, new, notes
from billing.sandbox.store import Store


def product_name(store: Store, price: Obj) -> str:
    """Return the name a line shows."""
    product = store.find(price["product"])
    return str(product["name"]) if product else str(price["product"])


def _line(
    *,
    subscription: str,
    item: Obj,
    amount: int,
    quantity: int,
    period: tuple[int, int],
    description: str,
    proration: bool = False,
) -> Obj:
    price = item["price"]
    return new(
        "line_item",
        amount=amount,
        subtotal=amount,
        currency=price["currency"],
        description=description,
        discountable=not proration,
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": proration,
                "proration_details": {"credited_items": None},
                "subscription": subscription,
                "subscription_item": item["id"],
            },
        },
        period={"start": period[0], "end": period[1]},
        pricing={
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=quantity,
        quantity_decimal=str(quantity),
        subscription=subscription,
        taxes=[taxes.blank(rate) for rate in item["tax_rates"]],
    )


def for_period(store: Store, subscription: Obj, *, trial: bool = False) -> list[Obj]:
    """Return the lines of the current period, paid in advance; metered items have none."""
    lines = []
    for item in subscription["items"]["data"]:
        if pricing.is_metered(item["price"]):
            continue
        quantity = item["quantity"]
        name = product_name(store, item["price"])
        each = Decimal(pricing.amount(item["price"], 1)) / 100
        per = item["price"]["recurring"]["interval"]
        text = (
            f"Trial period for {name}" if trial else f"{quantity} × {name} (at ${each:.2f} / {per})"
        )
        lines.append(
            _line(
                subscription=subscription["id"],
                item=item,
                amount=0 if trial else pricing.amount(item["price"], quantity),
                quantity=quantity,
                period=(item["current_period_start"], item["current_period_end"]),
                description=text,
            )
        )
    return lines


def for_usage(store: Store, subscription: Obj, *, until: int) -> list[Obj]:
    """Return what metered items used from their period's start up to `until`."""
    lines = []
    for item in subscription["items"]["data"]:
        if not pricing.is_metered(item["price"]):
            continue
        start = item["current_period_start"]
        meter = store.get("billing.meter", item["price"]["recurring"]["meter"])
        used = metered(store, meter, subscription["customer"], start, until)
        name = product_name(store, item["price"])
        lines.append(
            _line(
                subscription=subscription["id"],
                item=item,
                amount=pricing.amount(item["price"], used),
                quantity=used,
                period=(start, until),
                description=f"{used} × {name} ({meter['display_name']})",
            )
        )
    return lines


def metered(store: Store, meter: Obj, customer: str, start: int, end: int) -> int:
    """Return a customer's use of a meter in `[start, end)`, as the meter aggregates it."""
    key, formula = meter["value_settings"]["event_payload_key"], meter["default_aggregation"]
    found = [
        int(Decimal(event["payload"][key]))
        for event in store.all("billing.meter_event", parent=customer)
        if event["event_name"] == meter["event_name"] and start <= event["timestamp"] < end
    ]
    if formula["formula"] == "count":
        return len(found)
    return found[-1] if formula["formula"] == "last" and found else sum(found)


def remember(subscription: Obj, made: list[Obj]) -> None:
    """Note what was debited for each item: in flexible mode a credit counts from that."""
    debited = notes(subscription).setdefault("debited", {})
    for line in made:
        details = line["parent"]["subscription_item_details"]
        if line["amount"] >= 0 and details is not None:
            debited[details["subscription_item"]] = {
                **line["period"],
                "amount": discounts.net(line),
            }


def _full(store: Store, subscription: Obj, item: Obj) -> Fraction:
    """Return what a whole period of an item costs, net of the discounts that last."""
    lasting = discounts.without_once(subscription)
    ids = [*lasting["discounts"], *(i for o in lasting["items"]["data"] for i in o["discounts"])]
    if not discounts.running(subscription, ids, store.at):
        return pricing.full(item["price"], item["quantity"])
    whole = for_period(store, lasting)
    discounts.take_off(store, lasting, whole, at=store.at)
    for line in whole:
        if line["parent"]["subscription_item_details"]["subscription_item"] == item["id"]:
            return Fraction(discounts.net(line))
    return pricing.full(item["price"], item["quantity"])


def _credit(subscription: Obj, item: Obj, full: Fraction, at: int) -> int:
    """Return what is given back of an item from `at` on: the unused part of what was debited.

    Where that is not known it is a part of `full`, what a whole period costs now.
    """
    end: int = item["current_period_end"]
    debited = notes(subscription).get("debited", {}).get(item["id"])
    if debited is None or debited["end"] != end:
        part = pricing.remaining(item["current_period_start"], end, at)
        return pricing.credit(full, part)
    part, amount = pricing.remaining(debited["start"], end, at), int(debited["amount"])
    return pricing.credit(Fraction(amount), part)


def prorated(
    store: Store,
    subscription: Obj,
    old: Obj | None,
    changed: Obj | None,
    *,
    at: int,
    after: Obj | None = None,
) -> list[Obj]:
    """Return the credit for the old item and the debit for the new one, at `at`.

    `after` is the subscription as the change leaves it, where its discounts differ.
    Floored line by line toward minus infinity, over the exact part of the period
    that is left. Metered items are billed for what was used, never in part.
    """
    lines = []
    for item, sign in ((old, -1), (changed, 1)):
        if item is None or pricing.is_metered(item["price"]):
            continue
        start, end = item["current_period_start"], item["current_period_end"]
        part = pricing.remaining(start, end, at)
        quantity, price = item["quantity"], item["price"]
        name = product_name(store, price)
        words = "Unused" if sign < 0 else "Remaining"
        of = f"{quantity} × {name}" if quantity > 1 else name
        full = _full(store, subscription if sign < 0 else after or subscription, item)
        lines.append(
            _line(
                subscription=subscription["id"],
                item=item,
                amount=(
                    _credit(subscription, item, full, at) if sign < 0 else pricing.debit(full, part)
                ),
                quantity=quantity,
                period=(at, end),
                description=f"{words} time on {of} after {in_words(at)}",
                proration=True,
            )
        )
    return lines


def pending(store: Store, subscription: Obj) -> list[Obj]:
    """Return the invoice items that wait for the subscription's next invoice."""
    own = store.all("invoiceitem", parent=subscription["id"])
    return [item for item in own if item["invoice"] is None] + loose(
        store, subscription["customer"]
    )


def loose(store: Store, customer: str) -> list[Obj]:
    """Return the invoice items of no subscription that wait for the customer's next invoice."""
    return [item for item in store.all("invoiceitem", parent=customer) if item["invoice"] is None]


def from_item(item: Obj) -> Obj:
    """Return the line an invoice item becomes."""
    line = new(
        "line_item",
        **{
            name: item[name]
            for name in ("amount", "currency", "description", "discountable", "period", "pricing")
        },
        subtotal=item["amount"],
        quantity=item["quantity"],
        quantity_decimal=item["quantity_decimal"],
        taxes=[taxes.blank(rate) for rate in item["tax_rates"]],
    )
    if item["parent"] is None:
        line["parent"] = {
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": None,
            },
            "subscription_item_details": None,
        }
        return line
    details = item["parent"]["subscription_details"]
    line.update(
        subscription=details["subscription"],
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": item["id"],
                "proration": item["proration"],
                "proration_details": {"credited_items": None},
                "subscription": details["subscription"],
                "subscription_item": details["subscription_item"],
            },
        },
    )
    return line


def to_item(store: Store, subscription: Obj, line: Obj) -> Obj:
    """Keep a proration line for the next invoice."""
    details = line["parent"]["subscription_item_details"]
    item = new(
        "invoiceitem",
        **{
            name: line[name]
            for name in (
                "amount",
                "currency",
                "description",
                "discountable",
                "period",
                "pricing",
                "quantity",
                "quantity_decimal",
            )
        },
        customer=subscription["customer"],
        date=store.at,
        net_amount=line["amount"],
        tax_rates=taxes.rates(
            store, [one["tax_rate_details"]["tax_rate"] for one in line["taxes"]], param="tax_rates"
        ),
        proration=details["proration"],
        parent={
            "type": "subscription_details",
            "subscription_details": {
                "subscription": subscription["id"],
                "subscription_item": details["subscription_item"],
            },
        },
    )
    return store.put(item, "invoiceitem.created", parent=subscription["id"])
