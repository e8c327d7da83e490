"""Payment methods and the well-known test cards, with what each of them does."""

from dataclasses import dataclass
from typing import Any

from billing.sandbox import faults
from billing.sandbox.errors import StripeFault, card_error, invalid, missing
from billing.sandbox.shapes import Obj, new, notes, random_text
from billing.sandbox.store import Store

DEFAULT = "pm_card_visa"


@dataclass(frozen=True, kw_only=True)
class TestCard:
    """How a card behaves. `declines` holds from attaching on, or from the first charge."""

    last4: str
    brand: str = "visa"
    declines: str | None = None
    attaches: bool = True
    #: Every payment wants the customer's authentication, so none works off session.
    wants_authentication: bool = False


CARDS = {
    DEFAULT: TestCard(last4="4242"),
    "pm_card_mastercard": TestCard(last4="4444", brand="mastercard"),
    "pm_card_chargeCustomerFail": TestCard(last4="0341", declines="generic_decline"),
    "pm_card_chargeDeclined": TestCard(last4="0002", declines="generic_decline", attaches=False),
    "pm_card_visa_chargeDeclined": TestCard(
        last4="0002", declines="generic_decline", attaches=False
    ),
    "pm_card_visa_chargeDeclinedInsufficientFunds": TestCard(
        last4="9995", declines="insufficient_funds", attaches=False
    ),
    "pm_card_authenticationRequired": TestCard(last4="3184", wants_authentication=True),
}


def make(store: Store, name: str) -> Obj:
    """Return a fresh payment method for a test card. Raises `resource_missing`."""
    if name not in CARDS:
        raise missing("PaymentMethod", name, param="payment_method", status=400)
    card = CARDS[name]
    return new(
        "payment_method",
        created=store.at,
        card={
            "brand": card.brand,
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 2050,
            "fingerprint": random_text(16),
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        _={"card": name},
    )


def attach(store: Store, id_: str, customer: Obj) -> Obj:
    """Attach a payment method, or a new one made of a test card. Raises StripeFault."""
    method = store.get("payment_method", id_) if id_ not in CARDS else make(store, id_)
    if method["customer"] == customer["id"]:
        return method
    if method["customer"] is not None or notes(method).get("detached"):
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    card = CARDS[notes(method)["card"]]
    if not card.attaches:
        raise _declined(card.declines or "generic_decline")
    method["customer"] = customer["id"]
    return store.put(method, "payment_method.attached")


def charge(store: Store, method: Obj, amount: int, *, on_session: bool = False) -> None:
    """Take the money. Raises the card's own 402; `on_session` means the customer is there."""
    if faults.take(store.connection, "card_declined") is not None:
        refused = _declined("generic_decline")
        refused.ordered = "card_declined"
        raise refused
    card = CARDS[notes(method)["card"]]
    if card.declines:
        raise _declined(card.declines)
    if card.wants_authentication and not on_session:
        raise card_error(
            "authentication_required",
            "Your card was declined. This transaction requires authentication.",
            decline_code="authentication_required",
        )


def _declined(decline_code: str) -> StripeFault:
    return card_error("card_declined", "Your card was declined.", decline_code=decline_code)


# Operations


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """Return one payment method."""
    return store.get("payment_method", ids["id"])


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """List a customer's payment methods."""
    where: Obj = {name: params[name] for name in ("customer", "type") if name in params}
    return store.listing("payment_method", params, "/v1/payment_methods", where=where)


def attach_operation(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/payment_methods/{id}/attach."""
    if "customer" not in params:
        raise invalid(
            "Missing required param: customer.", code="parameter_missing", param="customer"
        )
    return attach(store, ids["id"], store.customer(params["customer"]))


def detach(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/payment_methods/{id}/detach: for good; it is nobody's default any more."""
    method = store.get("payment_method", ids["id"])
    if method["customer"] is None:
        raise invalid("The payment method is not attached to a customer.")
    customer = store.get("customer", method["customer"])
    if customer["invoice_settings"]["default_payment_method"] == method["id"]:
        customer["invoice_settings"]["default_payment_method"] = None
        store.put(customer, "customer.updated")
    for subscription in store.all("subscription", customer=customer["id"]):
        if subscription["default_payment_method"] == method["id"]:
            subscription["default_payment_method"] = None
            store.put(subscription, "customer.subscription.updated")
    method["customer"] = None
    notes(method)["detached"] = True
    return store.put(method, "payment_method.detached")
