"""Billing meters and the use reported to them."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.lines import metered
from billing.sandbox.shapes import Obj, new, page, random_text
from billing.sandbox.store import Store

_DAY = 86_400
#: An event may be this old, and this far ahead, in seconds.
_OLDEST, _AHEAD = 35 * _DAY, 300


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/billing/meters."""
    if store.all("billing.meter", where={"event_name": params["event_name"], "status": "active"}):
        raise invalid("A meter with this event name already exists.", param="event_name")
    names = (
        "customer_mapping",
        "default_aggregation",
        "display_name",
        "event_name",
        "event_time_window",
        "value_settings",
    )
    meter = new(
        "billing.meter",
        created=store.at,
        updated=store.at,
        **{name: params[name] for name in names if name in params},
    )
    return store.put(meter, "billing.meter.created")


def update(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/billing/meters/{id}."""
    meter = store.get("billing.meter", ids["id"])
    if "display_name" in params:
        meter.update(display_name=params["display_name"], updated=store.at)
    return store.put(meter, "billing.meter.updated")


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/billing/meters."""
    where = {"status": params["status"]} if "status" in params else {}
    return store.listing("billing.meter", params, "/v1/billing/meters", where=where)


def create_event(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/billing/meter_events: counted once per identifier."""
    found = store.all(
        "billing.meter", where={"event_name": params["event_name"], "status": "active"}
    )
    if not found:
        raise invalid(
            f"No active meter found for event name {params['event_name']}.",
            code="no_meter",
            param="event_name",
        )
    [meter] = found
    payload, key = params["payload"], meter["customer_mapping"]["event_payload_key"]
    for name in (key, meter["value_settings"]["event_payload_key"]):
        if name not in payload:
            raise invalid(f"The payload must contain {name}.", param=f"payload[{name}]")
    value = payload[meter["value_settings"]["event_payload_key"]]
    if not value.isdigit():
        raise invalid("The value must be a non-negative whole number.", param="payload[value]")
    customer = store.customer(payload[key], param=f"payload[{key}]")
    timestamp = params.get("timestamp", store.at)
    if not store.at - _OLDEST <= timestamp <= store.at + _AHEAD:
        raise invalid(
            "Timestamp must be within the past 35 days or 5 minutes ahead.", param="timestamp"
        )
    identifier = params.get("identifier") or random_text()
    if store.all("billing.meter_event", where={"identifier": identifier}):
        raise invalid(
            f"An event already exists with identifier {identifier}.",
            code="duplicate_meter_event",
            param="identifier",
        )
    event = new(
        "billing.meter_event",
        created=store.at,
        event_name=params["event_name"],
        identifier=identifier,
        payload=payload,
        timestamp=timestamp,
    )
    store.put({**event, "id": f"mev_{random_text()}"}, parent=customer["id"])
    return event


def summaries(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/billing/meters/{id}/event_summaries: one sum over the window asked for."""
    meter = store.get("billing.meter", ids["id"])
    start, end = params["start_time"], params["end_time"]
    store.customer(params["customer"])
    used = metered(store, meter, params["customer"], start, end)
    summary = {
        "id": f"mtrusg_{random_text()}",
        "object": "billing.meter_event_summary",
        "aggregated_value": used,
        "start_time": start,
        "end_time": end,
        "livemode": False,
        "meter": meter["id"],
    }
    return page([summary], f"/v1/billing/meters/{meter['id']}/event_summaries")
