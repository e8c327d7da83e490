"""SetupIntents: keep a card for later, with the customer there to authenticate."""

from typing import Any

from billing.sandbox import cards
from billing.sandbox.customers import merged
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.shapes import Obj, new, public, random_text
from billing.sandbox.store import Store


def pending_for(store: Store, customer: Obj) -> Obj:
    """Make the intent by which a trial collects its first card."""
    return _make(store, customer=customer["id"], usage="off_session")


def _make(store: Store, **fields: Any) -> Obj:
    intent = new("setup_intent", created=store.at, **fields)
    intent["client_secret"] = f"{intent['id']}_secret_{random_text()}"
    return store.put(intent, "setup_intent.created")


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/setup_intents; `confirm` with a payment method finishes it at once."""
    fields: dict[str, Any] = {
        name: params[name] for name in ("usage", "description") if name in params
    }
    automatic = params.get("automatic_payment_methods")
    if automatic is not None:
        fields["automatic_payment_methods"] = {"allow_redirects": "always", **automatic}
    if "customer" in params:
        fields["customer"] = store.customer(params["customer"])["id"]
    fields["metadata"] = merged({}, params.get("metadata"))
    intent = _make(store, **fields)
    if params.get("confirm"):
        return _confirm(store, intent, params)
    return intent


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/setup_intents/{id}."""
    return store.get("setup_intent", ids["id"])


def confirm(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/setup_intents/{id}/confirm."""
    return _confirm(store, store.get("setup_intent", ids["id"]), params)


def cancel(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/setup_intents/{id}/cancel."""
    intent = store.get("setup_intent", ids["id"])
    _check_open(intent)
    intent.update(status="canceled", cancellation_reason=params.get("cancellation_reason"))
    return store.put(intent, "setup_intent.canceled")


def _confirm(store: Store, intent: Obj, params: dict[str, Any]) -> Obj:
    _check_open(intent)
    given = params.get("payment_method", intent["payment_method"])
    if given is None:
        raise invalid(
            "You must provide a payment_method.", code="parameter_missing", param="payment_method"
        )
    if given in cards.CARDS and cards.CARDS[given].wants_authentication:
        method = store.put(cards.make(store, given))
        url = f"{store.config.public_url}/setup/{intent['id']}?secret={intent['client_secret']}"
        intent.update(
            status="requires_action",
            payment_method=method["id"],
            next_action={
                "type": "redirect_to_url",
                "redirect_to_url": {"url": url, "return_url": params.get("return_url")},
            },
        )
        return store.put(intent, "setup_intent.requires_action")
    return succeed(store, intent, given)


def succeed(store: Store, intent: Obj, method_id: str) -> Obj:
    """Attach the card; making it a default is the integration's own step."""
    try:
        if intent["customer"]:
            customer = store.customer(intent["customer"])
            method = cards.attach(store, method_id, customer)
        else:
            method = store.put(cards.make(store, method_id))
    except StripeFault as refused:
        if refused.status != 402:
            raise
        intent["last_setup_error"] = {**refused.body["error"]}
        store.put(intent, "setup_intent.setup_failed")
        refused.keep = True
        refused.body["error"]["setup_intent"] = public(intent)
        raise
    intent.update(
        status="succeeded", payment_method=method["id"], next_action=None, last_setup_error=None
    )
    return store.put(intent, "setup_intent.succeeded")


def _check_open(intent: Obj) -> None:
    if intent["status"] in {"succeeded", "canceled"}:
        raise invalid(
            f"This SetupIntent has a status of {intent['status']} and cannot be changed.",
            code="setup_intent_unexpected_state",
        )
