"""Subscription schedules: made from a subscription, phases, release."""

from typing import Any

from billing.sandbox import changes, customers, items, subscriptions, terms, updates
from billing.sandbox.errors import invalid, missing
from billing.sandbox.periods import step
from billing.sandbox.shapes import Obj, new, notes
from billing.sandbox.store import Store

_RUNNING = ("not_started", "active")


def create(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """POST /v1/subscription_schedules with `from_subscription`, and nothing but it."""
    if "from_subscription" not in params:
        raise invalid(
            "The sandbox makes schedules from a subscription only.",
            code="parameter_missing",
            param="from_subscription",
        )
    subscription = store.get("subscription", params["from_subscription"], param="from_subscription")
    if subscription["schedule"]:
        raise invalid(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"{subscription['schedule']}",
            param="from_subscription",
        )
    if subscription["status"] in (*subscriptions.ENDED, "incomplete"):
        raise invalid(
            f"You cannot migrate a subscription that is {subscription['status']}.",
            param="from_subscription",
        )
    start, end = items.period_of(subscription)
    phase = {
        **_phase(subscription, start=start, end=end),
        **terms.as_phase(subscription),
        "items": [terms.as_phase_item(item) for item in subscription["items"]["data"]],
        "metadata": subscription["metadata"],
    }
    phase["trial_end"] = subscription["trial_end"] if subscription["status"] == "trialing" else None
    schedule = new(
        "subscription_schedule",
        created=store.at,
        customer=subscription["customer"],
        subscription=subscription["id"],
        phases=[phase],
        metadata=customers.merged({}, params.get("metadata")),
    )
    _enter(schedule, phase)
    store.put(schedule, "subscription_schedule.created", parent=subscription["id"])
    subscription["schedule"] = schedule["id"]
    subscriptions.updated(store, subscription)
    return schedule


def retrieve(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """GET /v1/subscription_schedules/{id}."""
    return store.get("subscription_schedule", ids["id"])


def listing(store: Store, params: dict[str, Any], _ids: dict[str, str]) -> Obj:
    """GET /v1/subscription_schedules."""
    where = {"customer": params["customer"]} if "customer" in params else {}
    return store.listing("subscription_schedule", params, "/v1/subscription_schedules", where=where)


def update(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/subscription_schedules/{id}: phases are replaced as a whole."""
    schedule = _running(store, ids["id"], "update")
    subscription = store.get("subscription", schedule["subscription"])
    if "end_behavior" in params:
        schedule["end_behavior"] = params["end_behavior"]
    if "default_payment_method" in params.get("default_settings", {}):
        schedule["default_settings"]["default_payment_method"] = customers.own_card(
            store,
            schedule["customer"],
            params["default_settings"]["default_payment_method"],
            param="default_settings[default_payment_method]",
        )
    if "metadata" in params:
        schedule["metadata"] = customers.merged(schedule["metadata"], params["metadata"])
    if "phases" in params:
        phases = _phases(store, subscription, params["phases"])
        current = schedule["current_phase"]
        now = next((p for p in phases if p["start_date"] <= store.at < p["end_date"]), None)
        if now is None or (current and now["start_date"] != current["start_date"]):
            raise invalid(
                "You can not modify the start date of the current phase.",
                param="phases[0][start_date]",
            )
        schedule["phases"] = phases
        _enter(schedule, now)
        behavior = params.get("proration_behavior") or now["proration_behavior"]
        _apply(store, subscription, schedule, now, behavior)
    return store.put(schedule, "subscription_schedule.updated")


def release(store: Store, _params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/subscription_schedules/{id}/release: the subscription goes on by itself."""
    schedule = _running(store, ids["id"], "release")
    return close(store, schedule["id"], "released")


def cancel(store: Store, params: dict[str, Any], ids: dict[str, str]) -> Obj:
    """POST /v1/subscription_schedules/{id}/cancel: ends the subscription too."""
    schedule = _running(store, ids["id"], "cancel")
    subscription = store.get("subscription", schedule["subscription"])
    subscriptions.end(
        store,
        subscription,
        reason="cancellation_requested",
        invoice_now=params.get("invoice_now", True),
    )
    return store.get("subscription_schedule", schedule["id"])


def close(store: Store, id_: str, status: str) -> Obj:
    """End a schedule as `released`, `canceled` or `completed`; detach its subscription."""
    schedule = store.get("subscription_schedule", id_)
    subscription = store.get("subscription", schedule["subscription"])
    schedule.update(status=status, current_phase=None)
    schedule[f"{status}_at"] = store.at
    if status == "released":
        schedule.update(released_subscription=subscription["id"], subscription=None)
        subscription["schedule"] = None
        subscriptions.updated(store, subscription)
    notes(schedule).pop("due", None)
    return store.put(schedule, f"subscription_schedule.{status}")


def due(store: Store, schedule: Obj) -> None:
    """The current phase is over: enter the next one, or end as the schedule says."""
    over = schedule["current_phase"]["end_date"]
    following = next((p for p in schedule["phases"] if p["start_date"] == over), None)
    subscription = store.get("subscription", schedule["subscription"])
    if following is None:
        if schedule["end_behavior"] == "cancel":
            close(store, schedule["id"], "completed")
            ended = store.get("subscription", subscription["id"])
            subscriptions.end(store, {**ended, "schedule": None}, reason=None, invoice_now=True)
        else:
            close(store, schedule["id"], "released")
        return
    _enter(schedule, following)
    store.put(schedule, "subscription_schedule.updated")
    _apply(store, subscription, schedule, following, following["proration_behavior"])


def _running(store: Store, id_: str, verb: str) -> Obj:
    schedule = store.get("subscription_schedule", id_)
    if schedule["status"] not in _RUNNING:
        raise invalid(
            f"You cannot {verb} a subscription schedule that is currently in the "
            f"`{schedule['status']}` status."
        )
    return schedule


def _enter(schedule: Obj, phase: Obj) -> None:
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    notes(schedule)["due"] = phase["end_date"]


def _phases(store: Store, subscription: Obj, asked: list[dict[str, Any]]) -> list[Obj]:
    phases: list[Obj] = []
    for index, given in enumerate(asked):
        path = f"phases[{index}]"
        start = given.get("start_date", phases[-1]["end_date"] if phases else None)
        if start is None:
            raise invalid(
                "The first phase needs a start_date.",
                code="parameter_missing",
                param=f"{path}[start_date]",
            )
        start = store.at if start == "now" else start
        if phases and start != phases[-1]["end_date"]:
            raise invalid(
                "Phases must follow one another without a gap.", param=f"{path}[start_date]"
            )
        phase = _phase(subscription, start=start, end=_phase_end(given, start, path))
        for number, item in enumerate(given["items"]):
            if "price" not in item:
                raise missing("price", "", param=f"{path}[items][{number}][price]", status=400)
            place = f"{path}[items][{number}]"
            price = _price(store, subscription, item["price"], f"{place}[price]")
            phase["items"].append(terms.phase_item(store, subscription, price, item, place))
        phase.update(terms.phase_terms(store, subscription, given, path))
        for name in ("proration_behavior", "metadata", "billing_cycle_anchor"):
            phase[name] = given.get(name, phase[name])
        if "trial_end" in given:
            phase["trial_end"] = given["trial_end"]
        phases.append(phase)
    return phases


def _price(store: Store, subscription: Obj, id_: str, param: str) -> Obj:
    # What the subscription is on may be sold no more.
    current = [item["price"] for item in subscription["items"]["data"]]
    own = next((price for price in current if price["id"] == id_), None)
    return own or items.recurring_price(store, id_, param)


def _phase_end(given: dict[str, Any], start: int, path: str) -> int:
    if "end_date" in given:
        end: int = given["end_date"]
    elif "duration" in given:
        duration = given["duration"]
        end = step(start, duration["interval"], duration.get("interval_count", 1))
    else:
        raise invalid(
            "A phase needs an end_date or a duration.",
            code="parameter_missing",
            param=f"{path}[end_date]",
        )
    if end <= start:
        raise invalid("A phase must end after it starts.", param=f"{path}[end_date]")
    return end


def _phase(subscription: Obj, *, start: int, end: int) -> Obj:
    return {
        "add_invoice_items": [],
        "billing_cycle_anchor": None,
        "currency": subscription["currency"],
        "end_date": end,
        "items": [],
        "metadata": {},
        "proration_behavior": "create_prorations",
        "start_date": start,
        "trial_end": None,
    }


def _apply(store: Store, subscription: Obj, schedule: Obj, phase: Obj, behavior: str) -> None:
    """Give the subscription the phase's terms and items; metadata is merged, the rest replaced."""
    if phase["metadata"]:
        subscription["metadata"] = customers.merged(subscription["metadata"], phase["metadata"])
    if store.at >= items.period_of(subscription)[1]:
        # At the boundary nothing of the old period is left; its renewal follows at once.
        behavior = "none"
    params: dict[str, Any] = {
        **terms.enter_phase(subscription, phase, schedule["default_settings"]),
        "items": _item_changes(subscription, phase),
        "proration_behavior": behavior,
    }
    running = store.at < items.period_of(subscription)[1]
    if running and subscription["status"] == "trialing":
        if phase["trial_end"] != subscription["trial_end"]:
            params["trial_end"] = phase["trial_end"] or "now"
    elif phase["trial_end"] is not None and phase["trial_end"] > store.at:
        params["trial_end"] = phase["trial_end"]
    change = changes.compute(store, subscription, params)
    if change.bill_now:
        updates.bill(store, subscription, change, "allow_incomplete")
    else:
        updates.apply(store, change, behavior)


def _item_changes(subscription: Obj, phase: Obj) -> list[dict[str, Any]]:
    """Return what the phase makes of the items.

    One of the same price stays; one whose price goes is changed to a price of its
    kind that comes, in order; what is left over is added or deleted.
    """
    left = list(subscription["items"]["data"])
    pairs: list[tuple[Obj, Obj | None]] = []
    for entry in phase["items"]:
        same = next((item for item in left if item["price"]["id"] == entry["price"]), None)
        pairs.append((entry, same))
        if same is not None:
            left.remove(same)
    asked: list[dict[str, Any]] = []
    for entry, item in pairs:
        if item is None:
            item = next((one for one in left if ("quantity" in one) == ("quantity" in entry)), None)
            if item is not None:
                left.remove(item)
        asked.append(_item_change(subscription, entry, item))
    return asked + [{"id": item["id"], "deleted": True} for item in left]


def _item_change(subscription: Obj, entry: Obj, item: Obj | None) -> dict[str, Any]:
    change: dict[str, Any] = {
        "price": entry["price"],
        "discounts": terms.reused(subscription, item or {"discounts": []}, entry["discounts"]),
        "tax_rates": [rate["id"] for rate in entry["tax_rates"]],
        "billing_thresholds": entry["billing_thresholds"],
        "metadata": entry["metadata"],
    }
    if "quantity" in entry:
        change["quantity"] = entry["quantity"]
    if item is not None:
        change["id"] = item["id"]
    return change
