"""Events and webhook endpoints as an integration reads them."""

from typing import Any

from psycopg import sql

from billing.sandbox import API_VERSION
from billing.sandbox.customers import merged
from billing.sandbox.errors import invalid
from billing.sandbox.shapes import Obj, new, random_text
from billing.sandbox.store import Store

#: The endpoint that the sandbox itself delivers to.
OWN_ENDPOINT = "we_sandbox"


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/events by type(s), time and delivery success, newest first."""
    if "type" in params and "types" in params:
        raise invalid("You may pass either type or types, but not both.", param="types")
    conditions: list[sql.Composable] = []
    values: dict[str, Any] = {}
    types = params.get("types", [params["type"]] if "type" in params else None)
    if types is not None:
        conditions.append(sql.SQL("data->>'type' LIKE ANY(%(types)s)"))
        values["types"] = [name.replace("*", "%") for name in types]
    if "delivery_success" in params:
        undelivered = sql.SQL(
            "EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = objects.id"
            " AND o.state <> 'delivered')"
        )
        conditions.append(
            sql.SQL("NOT ") + undelivered if params["delivery_success"] else undelivered
        )
    found = store.listing("event", params, "/v1/events", conditions=conditions, values=values)
    for event in found["data"]:
        _count_pending(store, event)
    return found


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/events/{id}."""
    return _count_pending(store, store.get("event", ids["id"]))


def _count_pending(store: Store, event: Obj) -> Obj:
    row: Any = store.connection.execute(
        "SELECT count(*) AS n FROM outbox WHERE event_id = %s AND state = 'pending'",
        [event["id"]],
    ).fetchone()
    event["pending_webhooks"] = row["n"]
    return event


def ensure_endpoint(store: Store) -> None:
    """Keep the endpoint we deliver to among the webhook endpoints."""
    url = store.setting("webhook_url", store.config.webhook_url)
    endpoint = new(
        "webhook_endpoint",
        id=OWN_ENDPOINT,
        created=store.at,
        url=url or "",
        api_version=API_VERSION,
        status="enabled" if url else "disabled",
    )
    kept = store.find(OWN_ENDPOINT)
    store.put({**endpoint, "created": kept["created"]} if kept else endpoint)


def list_endpoints(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/webhook_endpoints."""
    return store.listing("webhook_endpoint", params, "/v1/webhook_endpoints")


def create_endpoint(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/webhook_endpoints: kept and listed; deliveries go to the sandbox's own one."""
    endpoint = new(
        "webhook_endpoint",
        created=store.at,
        url=params["url"],
        enabled_events=params["enabled_events"],
        api_version=params.get("api_version"),
        description=params.get("description"),
        metadata=merged({}, params.get("metadata")),
    )
    store.put(endpoint)
    return {**endpoint, "secret": f"whsec_{random_text(32)}"}
