"""What is billed beside a subscription: invoice items, and invoices made of them."""

from decimal import Decimal
from typing import Any

from psycopg import sql

from billing.sandbox import drafts, invoices, lines, pricing
from billing.sandbox.customers import merged
from billing.sandbox.errors import invalid
from billing.sandbox.shapes import Obj, new
from billing.sandbox.store import Store


def create_item(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/invoiceitems: on the draft it names, or waiting for the customer's next invoice."""
    for name in ("customer", "currency", "unit_amount_decimal"):
        if name not in params:
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    customer = store.customer(params["customer"])
    draft = _draft_of(store, params, customer) if "invoice" in params else None
    quantity, each = params.get("quantity", 1), Decimal(params["unit_amount_decimal"])
    amount = pricing.rounded(each * quantity)
    price = _own_price(store, params["currency"], each, params.get("description"))
    item = new(
        "invoiceitem",
        amount=amount,
        currency=params["currency"],
        customer=customer["id"],
        date=store.at,
        description=params.get("description"),
        discountable=True,
        metadata=merged({}, params.get("metadata")),
        net_amount=amount,
        period=params.get("period", {"start": store.at, "end": store.at}),
        pricing={
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=quantity,
        quantity_decimal=str(quantity),
        invoice=draft and draft["id"],
    )
    if draft is not None:
        draft["lines"]["data"].append({**lines.from_item(item), "invoice": draft["id"]})
        store.put(drafts.count(draft, customer["balance"]), "invoice.updated")
    return store.put(item, "invoiceitem.created", parent=customer["id"])


def _draft_of(store: Store, params: dict[str, Any], customer: Obj) -> Obj:
    draft = store.get("invoice", params["invoice"], param="invoice")
    if draft["status"] != "draft":
        raise invalid("Invoice items can only be added to a draft.", param="invoice")
    if draft["customer"] != customer["id"] or draft["currency"] != params["currency"]:
        raise invalid("The invoice is another customer's or currency's.", param="invoice")
    return draft


def _own_price(store: Store, currency: str, each: Decimal, name: str | None) -> Obj:
    """Make the price that an amount without one gets: for this item alone, not on sale."""
    product = new(
        "product", active=False, created=store.at, updated=store.at, name=name or "Invoice item"
    )
    store.put(product)
    decimal = format(each, "f")
    price = new(
        "price",
        active=False,
        created=store.at,
        currency=currency,
        product=product["id"],
        type="one_time",
        unit_amount=int(decimal) if decimal.isdigit() else None,
        unit_amount_decimal=decimal,
    )
    return store.put(price)


def list_items(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/invoiceitems by customer, by invoice, or those that wait."""
    where: Obj = {name: params[name] for name in ("customer", "invoice") if name in params}
    pending = sql.SQL("(data->>'invoice' IS NULL) = %(pending)s")
    conditions = [pending] if "pending" in params else []
    return store.listing(
        "invoiceitem",
        params,
        "/v1/invoiceitems",
        where=where,
        conditions=conditions,
        values={"pending": params.get("pending")},
    )


def create_invoice(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/invoices: a draft of what waits for the customer (if asked), or of nothing yet.

    With `auto_advance` it is collected in an hour.
    """
    if "customer" not in params:
        raise invalid(
            "Missing required param: customer.", code="parameter_missing", param="customer"
        )
    customer = store.customer(params["customer"])
    waiting: list[Obj] = []
    if params.get("pending_invoice_items_behavior", "exclude") == "include":
        waiting = lines.loose(store, customer["id"])
    invoice = drafts.counted(
        store,
        customer,
        [lines.from_item(item) for item in waiting],
        billing_reason="manual",
        currency=params.get("currency")
        or (waiting[0]["currency"] if waiting else customer["currency"] or "usd"),
        description=params.get("description"),
        metadata=merged({}, params.get("metadata")),
        period_start=store.at,
        period_end=store.at,
        auto_advance=params.get("auto_advance", False),
    )
    if invoice["auto_advance"]:
        invoices.schedule_finalization(store, invoice)
    return invoices.keep(store, invoice, parent=customer["id"])
