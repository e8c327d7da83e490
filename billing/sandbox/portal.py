"""The customer portal: configurations, short-lived sessions, what its page may do."""

from copy import deepcopy
from typing import Any

from billing.sandbox import cards, changes, subscriptions
from billing.sandbox.customers import merged
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.shapes import Obj, new, notes, random_text
from billing.sandbox.store import Store

#: A session's page works for this long, in seconds.
_LIFETIME = 300
_FLOWS = (
    "customer_update",
    "payment_method_update",
    "subscription_cancel",
    "subscription_pause",
    "subscription_update",
    "subscription_update_confirm",
)


def create_configuration(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/billing_portal/configurations."""
    configuration = new("billing_portal.configuration", created=store.at, updated=store.at)
    configuration["is_default"] = not store.all("billing_portal.configuration")
    _apply(configuration, params)
    return store.put(configuration, "billing_portal.configuration.created")


def update_configuration(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/billing_portal/configurations/{id}."""
    configuration = store.get("billing_portal.configuration", ids["id"])
    _apply(configuration, params)
    configuration["updated"] = store.at
    return store.put(configuration, "billing_portal.configuration.updated")


def _apply(configuration: Obj, params: dict[str, Any]) -> None:
    for name, given in params.get("features", {}).items():
        kept = configuration["features"].get(name, {})
        configuration["features"][name] = {**kept, **given}
    for name in ("active", "default_return_url", "name"):
        if name in params:
            configuration[name] = params[name] if params[name] != "" else None
    for name in ("business_profile", "login_page"):
        configuration[name] = {**configuration[name], **params.get(name, {})}
    if "metadata" in params:
        configuration["metadata"] = merged(configuration["metadata"], params["metadata"])


def list_configurations(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/billing_portal/configurations."""
    where: Obj = {name: params[name] for name in ("active", "is_default") if name in params}
    return store.listing(
        "billing_portal.configuration", params, "/v1/billing_portal/configurations", where=where
    )


def create_session(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/billing_portal/sessions."""
    if "customer" not in params:
        raise invalid(
            "Missing required param: customer.", code="parameter_missing", param="customer"
        )
    customer = store.customer(params["customer"])
    configuration = _configuration(store, params.get("configuration"))
    flow = _flow(params.get("flow_data"))
    if flow and not configuration["features"].get(flow["type"], {}).get("enabled", False):
        raise invalid(
            f"The portal configuration does not enable {flow['type']}.", param="flow_data[type]"
        )
    session = new(
        "billing_portal.session",
        created=store.at,
        configuration=configuration["id"],
        customer=customer["id"],
        flow=flow,
        locale=params.get("locale"),
        return_url=params.get("return_url", configuration["default_return_url"]),
        _={"secret": random_text(40), "until": store.at + _LIFETIME},
    )
    session["url"] = (
        f"{store.config.public_url}/portal/{session['id']}?secret={session['_']['secret']}"
    )
    return store.put(session, "billing_portal.session.created")


def _configuration(store: Store, id_: str | None) -> Obj:
    if id_ is not None:
        return store.get("billing_portal.configuration", id_, param="configuration")
    found = store.all("billing_portal.configuration", where={"is_default": True, "active": True})
    if not found:
        raise invalid(
            "No configuration provided and your test mode default configuration has not been "
            "created. Provide a configuration or create your default."
        )
    return found[0]


def _flow(given: dict[str, Any] | None) -> Obj | None:
    if given is None:
        return None
    if given["type"] not in _FLOWS:
        raise invalid(
            f"Invalid flow_data[type]: must be one of {', '.join(_FLOWS)}", param="flow_data[type]"
        )
    flow: Obj = {
        "after_completion": {
            "hosted_confirmation": None,
            "redirect": None,
            "type": "portal_homepage",
        },
        "subscription_cancel": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
    }
    return {**flow, **deepcopy(given)}


def opened(store: Store, id_: str, secret: str) -> Obj:
    """Return the session a page was opened for. Raises StripeFault (404)."""
    session = store.get("billing_portal.session", id_)
    own = notes(session)
    if own["secret"] != secret or store.at > own["until"]:
        raise StripeFault("This portal link has expired.", status=404)
    return session


def set_card(store: Store, session: Obj, card: str) -> None:
    """What the page does with a new card: it becomes the customer's default."""
    customer = store.customer(session["customer"])
    method = cards.attach(store, card, customer)
    customer["invoice_settings"]["default_payment_method"] = method["id"]
    store.put(customer, "customer.updated")


def cancel(store: Store, session: Obj) -> None:
    """What the page's cancel button does, as the configuration says."""
    configuration = store.get("billing_portal.configuration", session["configuration"])
    feature = configuration["features"]["subscription_cancel"]
    if not feature["enabled"]:
        raise invalid("Cancelling is not enabled in this portal.")
    for subscription in store.all("subscription", customer=session["customer"]):
        if subscription["status"] in subscriptions.ENDED:
            continue
        if feature["mode"] == "immediately":
            subscriptions.end(store, subscription, reason="cancellation_requested")
        else:
            change = changes.compute(store, subscription, {"cancel_at_period_end": True})
            subscriptions.updated(store, change.after)
