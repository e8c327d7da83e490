"""Checkout sessions, mode `subscription`: the subscription is made after completion."""

from typing import Any

from billing.sandbox import cards, items, pricing, subscriptions
from billing.sandbox.customers import merged
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.invoices import DAY, HOUR
from billing.sandbox.shapes import Obj, new, notes
from billing.sandbox.store import Store

_PLAIN = (
    "allow_promotion_codes",
    "cancel_url",
    "client_reference_id",
    "locale",
    "payment_method_collection",
    "success_url",
    "allowed_payment_method_types",
    "billing_address_collection",
)
#: A trial may not end sooner than this when a session is made.
_SHORTEST_TRIAL = 48 * HOUR


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/checkout/sessions."""
    if params.get("mode") != "subscription":
        raise invalid("The sandbox has Checkout in `subscription` mode only.", param="mode")
    for name in ("line_items", "customer", "success_url"):
        if name not in params:
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    customer = store.customer(params["customer"])
    expires = params.get("expires_at", store.at + DAY)
    if not store.at + HOUR // 2 <= expires <= store.at + DAY:
        raise invalid(
            "expires_at must be between 30 minutes and 24 hours from creation.", param="expires_at"
        )
    wanted, total, currency = _priced(store, params["line_items"])
    data = params.get("subscription_data", {})
    _check_trial(store, data)
    trial = "trial_end" in data or data.get("trial_period_days", 0) > 0
    given = {name: params[name] for name in _PLAIN if name in params}
    given.setdefault("payment_method_collection", "always")
    session = new(
        "checkout.session",
        created=store.at,
        amount_subtotal=0 if trial else total,
        amount_total=0 if trial else total,
        currency=currency,
        customer=customer["id"],
        customer_details={
            "address": None,
            "business_name": None,
            "email": customer["email"],
            "individual_name": None,
            "name": customer["name"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        expires_at=expires,
        metadata=merged({}, params.get("metadata")),
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        **{name: value for name, value in given.items() if name != "allowed_payment_method_types"},
        _={"items": wanted, "subscription_data": data, "due": expires},
    )
    session["url"] = f"{store.config.public_url}/checkout/{session['id']}"
    return store.put(session)


def _priced(store: Store, asked: list[dict[str, Any]]) -> tuple[list[Obj], int, str]:
    wanted, total, currency = [], 0, ""
    for index, line in enumerate(asked):
        path = f"line_items[{index}][price]"
        if "price" not in line:
            raise invalid(f"Missing required param: {path}.", code="parameter_missing", param=path)
        price = items.recurring_price(store, line["price"], path)
        item = {"price": price["id"]}
        if not pricing.is_metered(price):
            item["quantity"] = line.get("quantity", 1)
            total += pricing.amount(price, item["quantity"])
        currency = price["currency"]
        wanted.append(item)
    return wanted, total, currency


def _check_trial(store: Store, data: dict[str, Any]) -> None:
    if "trial_end" in data and data["trial_end"] < store.at + _SHORTEST_TRIAL:
        raise invalid(
            "The `trial_end` date has to be at least 2 days in the future.",
            param="subscription_data[trial_end]",
        )


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/checkout/sessions/{id}."""
    return store.get("checkout.session", ids["id"])


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/checkout/sessions."""
    where: Obj = {
        name: params[name] for name in ("customer", "subscription", "status") if name in params
    }
    return store.listing("checkout.session", params, "/v1/checkout/sessions", where=where)


def expire(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/checkout/sessions/{id}/expire."""
    session = store.get("checkout.session", ids["id"])
    if session["status"] != "open":
        raise invalid(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of {session['status']}."
        )
    return close(store, session)


def close(store: Store, session: Obj) -> Obj:
    """open → expired; its page is gone."""
    session.update(status="expired", url=None)
    notes(session).pop("due", None)
    return store.put(session, "checkout.session.expired")


def complete(store: Store, session: Obj, card: str) -> Obj:
    """What the page does: take the card, make the subscription, say so.

    Raises the card's 402; the session then stays open.
    """
    if session["status"] != "open":
        raise invalid("This Checkout Session is no longer open.")
    customer = store.customer(session["customer"])
    method = cards.attach(store, card, customer)
    if cards.CARDS[card].declines and session["amount_total"]:
        cards.charge(store, method, session["amount_total"], on_session=True)
    data = notes(session)["subscription_data"]
    made = subscriptions.start(
        store,
        {
            **data,
            "customer": customer["id"],
            "items": notes(session)["items"],
            "default_payment_method": method["id"],
            "payment_behavior": "default_incomplete",
        },
    )
    if made["status"] == "incomplete":
        _pay_first(store, made, method)
        made = store.get("subscription", made["id"])
    session.update(
        status="complete",
        payment_status="paid" if session["amount_total"] else "no_payment_required",
        subscription=made["id"],
        invoice=made["latest_invoice"],
        url=None,
    )
    notes(session).pop("due", None)
    return store.put(session, "checkout.session.completed")


def _pay_first(store: Store, subscription: Obj, method: Obj) -> None:
    from billing.sandbox import invoices

    invoice = store.get("invoice", subscription["latest_invoice"])
    failure: StripeFault | None = invoices.collect(store, invoice, method=method, on_session=True)
    if failure is not None:
        raise failure
