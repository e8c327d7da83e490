"""The phases of a schedule that changes a plan when the running period ends.

An update replaces phases as a whole, and Stripe gives the subscription what its
running phase says: what a phase leaves out is taken away. So the running phase
repeats what the subscription is, field by field, and the one after it carries the
same terms with other prices. The subscription, not the schedule, is the source:
it shows what was changed beside the schedule as well.

The card is the exception: the later phase names none, and takes the schedule's own
default. Of a schedule that default can be changed alone, when a new card comes while
the change waits; phases could only be written anew.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

Json = dict[str, Any]


class ItemChange(TypedDict, total=False):
    """A further item of a change, such as the metered price of a plan's overage."""

    id: str
    price: str
    quantity: int
    deleted: bool


def is_metered(item: Json) -> bool:
    """Tell whether use is billed by an item, rather than a quantity."""
    return bool((item["price"].get("recurring") or {}).get("usage_type") == "metered")


def two_phases(
    *,
    schedule: Json,
    subscription: Json,
    price_id: str,
    interval: str,
    item_id: str | None,
    quantity: int | None,
    further_items: Sequence[ItemChange],
) -> Json:
    """Return the update by which `item_id` moves to `price_id` when its period ends.

    The first item that is not metered moves where `item_id` is None. There are as many
    of it as before where `quantity` is None.
    """
    items = subscription["items"]["data"]
    if item_id is None:
        item_id = next(item["id"] for item in items if not is_metered(item))
    current = next(item for item in items if item["id"] == item_id)
    running = _running_phase(schedule, subscription)
    running["end_date"] = current["current_period_end"]
    moved: Json = {"price": price_id} | ({} if quantity is None else {"quantity": quantity})
    gone = {change["id"] for change in further_items if change.get("deleted")}
    later_terms = _terms(subscription)
    card = later_terms.pop("default_payment_method", None)
    later = {
        **later_terms,
        "items": [
            *(
                _phase_item(item) | (moved if item["id"] == item_id else {})
                for item in items
                if item["id"] not in gone
            ),
            *({"price": change["price"]} for change in further_items if "price" in change),
        ],
        "duration": {"interval": interval, "interval_count": 1},
        "proration_behavior": "none",
    }
    update: Json = {"end_behavior": "release", "proration_behavior": "none"}
    if card is not None:
        update["default_settings"] = {"default_payment_method": card}
    return update | {"phases": [running, later]}


def _running_phase(schedule: Json, subscription: Json) -> Json:
    start = (schedule["current_phase"] or schedule["phases"][0])["start_date"]
    phase: Json = {
        **_terms(subscription),
        "items": [_phase_item(item) for item in subscription["items"]["data"]],
        "start_date": start,
    }
    if subscription.get("metadata"):
        # Not in the later phase: it would undo what is written in between.
        phase["metadata"] = dict(subscription["metadata"])
    if subscription["status"] == "trialing":
        phase["trial_end"] = subscription["trial_end"]
    return phase


def _terms(subscription: Json) -> Json:
    """Return what a phase is to repeat of a subscription beside its items."""
    terms: Json = {}
    for name, read in _TERMS.items():
        value = read(subscription)
        if value not in (None, "", [], {}):
            terms[name] = value
    return terms


def _phase_item(item: Json) -> Json:
    phase_item: Json = {"price": _id(item["price"])}
    for name in ("quantity", "metadata"):
        if item.get(name) not in (None, {}):
            phase_item[name] = item[name]
    for name, value in (
        ("discounts", _discounts(item)),
        ("tax_rates", _ids(item.get("tax_rates"))),
        ("billing_thresholds", _set_only(item.get("billing_thresholds"))),
    ):
        if value:
            phase_item[name] = value
    return phase_item


def _discounts(holder: Json) -> list[Json]:
    """Return the discounts by their own ids: what is left of one, not the coupon anew."""
    return [{"discount": id_} for id_ in _ids(holder.get("discounts"))]


def _automatic_tax(subscription: Json) -> Json | None:
    tax = subscription.get("automatic_tax")
    if not tax:
        return None
    liability = _account(tax.get("liability"))
    return {"enabled": tax["enabled"], **({"liability": liability} if liability else {})}


def _invoice_settings(subscription: Json) -> Json:
    settings = subscription.get("invoice_settings") or {}
    repeated = {
        "account_tax_ids": _ids(settings.get("account_tax_ids")),
        "custom_fields": [_set_only(field) for field in settings.get("custom_fields") or []],
        "days_until_due": subscription.get("days_until_due"),
        "description": settings.get("description"),
        "footer": settings.get("footer"),
        "issuer": _account(settings.get("issuer")),
    }
    return {name: value for name, value in repeated.items() if value}


def _transfer_data(subscription: Json) -> Json | None:
    data = subscription.get("transfer_data")
    return _set_only({**data, "destination": _id(data["destination"])}) if data else None


def _account(reference: Json | None) -> Json | None:
    if not reference:
        return None
    account = reference.get("account")
    return {"type": reference["type"], **({"account": _id(account)} if account else {})}


def _set_only(value: Mapping[str, Any] | None) -> Json:
    return {name: one for name, one in (value or {}).items() if one is not None}


def _id(reference: Any) -> Any:
    return reference["id"] if isinstance(reference, Mapping) else reference


def _ids(references: Sequence[Any] | None) -> list[Any]:
    return [_id(reference) for reference in references or []]


#: What a phase repeats, and how it is read from a subscription.
_TERMS: dict[str, Callable[[Json], Any]] = {
    "application_fee_percent": lambda s: s.get("application_fee_percent"),
    "automatic_tax": _automatic_tax,
    "billing_thresholds": lambda s: _set_only(s.get("billing_thresholds")),
    "collection_method": lambda s: s.get("collection_method"),
    "default_payment_method": lambda s: _id(s.get("default_payment_method")),
    "default_tax_rates": lambda s: _ids(s.get("default_tax_rates")),
    "description": lambda s: s.get("description"),
    "discounts": _discounts,
    "invoice_settings": _invoice_settings,
    "on_behalf_of": lambda s: _id(s.get("on_behalf_of")),
    "transfer_data": _transfer_data,
}
