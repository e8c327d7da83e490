"""What an update does to a subscription, computed before anything is written.

A preview and the update itself ask the same function, so what was previewed is
what is charged.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from billing.sandbox import drafts, items, lines, pricing, subscriptions, terms
from billing.sandbox.errors import StripeFault, invalid
from billing.sandbox.periods import next_boundary
from billing.sandbox.shapes import Obj
from billing.sandbox.store import Store

_CANCELLATION = ("cancel_at_period_end", "cancel_at")


@dataclass(frozen=True, kw_only=True)
class Change:
    """`after` is the subscription as it would be. `bill_now`: an invoice is due at once."""

    after: Obj
    prorations: list[Obj]
    #: Whole periods and use billed at once because the anchor was reset.
    charges: list[Obj]
    #: What metered items used that the change takes away: no renewal will bill it.
    used: list[Obj]
    bill_now: bool
    #: The instant the proration counts from.
    at: int

    def invoice(self, store: Store) -> Obj:
        """Return the invoice that the change makes at once, not stored."""
        waiting = [lines.from_item(item) for item in lines.pending(store, self.after)]
        return drafts.draft(
            store,
            self.after,
            [*waiting, *self.prorations, *self.used, *self.charges],
            reason="subscription_update",
            period=items.period_of(self.after),
            proration_date=self.at if self.prorations else None,
        )


def compute(store: Store, before: Obj, params: dict[str, Any]) -> Change:
    """Return what the parameters of an update (or preview) would do. Raises StripeFault."""
    at = _proration_instant(store, before, params)
    behavior = params.get("proration_behavior", "create_prorations")
    after = deepcopy(before)
    subscriptions.set_plain(store, after, params)
    if params.get("items"):
        found = items.changed(store, after, params["items"])
        after["items"] = items.listed(after["id"], found)
    terms.apply(store, after, params)
    charges: list[Obj] = []
    reset = _resets(before, after, params)
    new_trial = isinstance(params.get("trial_end"), int)
    if reset:
        charges = _restart(store, before, after)
    elif new_trial:
        _begin_trial(store, after, params["trial_end"])
    prorations: list[Obj] = []
    if behavior != "none" and before["status"] not in {"trialing", "paused"}:
        prorations = _prorations(store, before, after, at, whole=reset or new_trial)
    lines.remember(after, prorations)
    _set_cancellation(store, before, after, params)
    return Change(
        after=after,
        prorations=prorations,
        charges=charges,
        used=[] if reset else _used_of_removed(store, before, after),
        bill_now=reset or (behavior == "always_invoice" and bool(prorations)),
        at=at,
    )


def _proration_instant(store: Store, before: Obj, params: dict[str, Any]) -> int:
    at: int = params.get("proration_date", store.at)
    start, end = items.period_of(before)
    if "proration_date" in params and not start <= at <= end:
        raise invalid(
            "Cannot specify a proration date outside of the current billing period.",
            param="proration_date",
        )
    return at


def _resets(before: Obj, after: Obj, params: dict[str, Any]) -> bool:
    """Whether the billing cycle starts anew now, which bills a whole period at once."""
    if before["status"] == "trialing":
        return params.get("trial_end") == "now"
    if params.get("billing_cycle_anchor", {}).get("type") == "now":
        return True
    was, is_ = before["items"]["data"][0], after["items"]["data"][0]
    if items.interval_of(was) != items.interval_of(is_):
        return True
    return not _per_period(before) and _per_period(after) > 0


def _per_period(subscription: Obj) -> int:
    return sum(
        pricing.amount(item["price"], item["quantity"])
        for item in subscription["items"]["data"]
        if not pricing.is_metered(item["price"])
    )


def _restart(store: Store, before: Obj, after: Obj) -> list[Obj]:
    used: list[Obj] = []
    if before["status"] == "trialing":
        after.update(status="active", trial_end=store.at)
    else:
        used = [line for line in lines.for_usage(store, before, until=store.at) if line["amount"]]
    after["billing_cycle_anchor"] = store.at
    recurring = after["items"]["data"][0]["price"]["recurring"]
    items.set_period(after, store.at, next_boundary(store.at, recurring, store.at))
    return [*used, *lines.for_period(store, after)]


def _begin_trial(store: Store, after: Obj, trial_end: int) -> None:
    subscriptions.check_trial_end(store, trial_end)
    start = items.period_of(after)[0] if after["status"] == "trialing" else store.at
    after.update(
        status="trialing",
        trial_start=after["trial_start"] if after["status"] == "trialing" else store.at,
        trial_end=trial_end,
        billing_cycle_anchor=trial_end,
    )
    items.set_period(after, start, trial_end)


def _prorations(store: Store, before: Obj, after: Obj, at: int, *, whole: bool) -> list[Obj]:
    old = {item["id"]: item for item in before["items"]["data"]}
    new = {item["id"]: item for item in after["items"]["data"]}
    found: list[Obj] = []
    for id_ in [*old, *(id_ for id_ in new if id_ not in old)]:
        was, is_ = old.get(id_), new.get(id_)
        if whole:
            # The new period is charged in full; only the unused rest is given back.
            found += lines.prorated(store, before, was, None, at=at, after=after)
        elif was is None or is_ is None or _differ(was, is_):
            found += lines.prorated(store, before, was, is_, at=at, after=after)
    return found


def _used_of_removed(store: Store, before: Obj, after: Obj) -> list[Obj]:
    kept = {item["id"]: item["price"]["id"] for item in after["items"]["data"]}
    until = min(store.at, items.period_of(before)[1])
    return [
        line
        for line in lines.for_usage(store, before, until=until)
        if line["amount"]
        and kept.get(line["parent"]["subscription_item_details"]["subscription_item"])
        != line["pricing"]["price_details"]["price"]
    ]


def _differ(was: Obj, is_: Obj) -> bool:
    return (was["price"]["id"], was.get("quantity")) != (is_["price"]["id"], is_.get("quantity"))


def _set_cancellation(store: Store, before: Obj, after: Obj, params: dict[str, Any]) -> None:
    asked = [name for name in _CANCELLATION if name in params]
    if asked and before["schedule"]:
        raise invalid(
            "The subscription is managed by the subscription schedule "
            f"`{before['schedule']}`, and updating any cancelation behavior directly is not "
            "allowed. Please update the schedule instead.",
            param=asked[0],
        )
    end = items.period_of(after)[1]
    at_end = after["cancel_at_period_end"]
    cancel_at = end if at_end else after["cancel_at"]
    if "cancel_at_period_end" in params:
        at_end = params["cancel_at_period_end"]
        cancel_at = end if at_end else None
    elif "cancel_at" in params:
        given = params["cancel_at"]
        cancel_at = given if isinstance(given, int) else (end if given else None)
        at_end = cancel_at == end
        if cancel_at is not None and cancel_at <= store.at:
            raise StripeFault("cancel_at must be in the future", param="cancel_at")
    if asked:
        after["canceled_at"] = store.at if cancel_at is not None else None
        details = after["cancellation_details"] or {"comment": None, "feedback": None}
        reason = "cancellation_requested" if cancel_at is not None else None
        after["cancellation_details"] = {**details, "reason": reason}
    after.update(cancel_at_period_end=at_end, cancel_at=cancel_at)
