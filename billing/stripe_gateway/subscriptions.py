"""Subscriptions, previews of their changes, and schedules."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal

from billing.stripe_gateway.customers import keyed
from billing.stripe_gateway.errors import StripeRefused
from billing.stripe_gateway.phases import ItemChange, two_phases
from billing.stripe_gateway.transport import Json, Transport

Proration = Literal["always_invoice", "create_prorations", "none"]
TrialEnd = Literal["cancel", "create_invoice", "pause"]
Payment = Literal[
    "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
]
_OVER = ("released", "canceled", "completed")


class Subscriptions:
    """What an organisation pays for, and how it changes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._call = transport.call

    def create_subscription(
        self,
        *,
        customer_id: str,
        price_id: str,
        org_id: str,
        idempotency_key: str,
        trial_days: int = 0,
        trial_end: int | None = None,
        on_missing_payment_method: TrialEnd = "pause",
        payment_behavior: Payment = "default_incomplete",
        metered_price_ids: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Subscribe, with a trial where `trial_days` or `trial_end` (Unix seconds) say so.

        `latest_invoice` (with its `confirmation_secret`) and `pending_setup_intent`
        come expanded: an `incomplete` subscription needs them in the browser.
        """
        items: list[Json] = [{"price": price_id, "quantity": 1}]
        params: Any = {
            "customer": customer_id,
            "items": items + [{"price": metered} for metered in metered_price_ids],
            "payment_behavior": payment_behavior,
            "payment_settings": {"save_default_payment_method": "on_subscription"},
            "billing_mode": {"type": "flexible"},
            "metadata": {**(metadata or {}), "org_id": org_id},
            "expand": ["latest_invoice.confirmation_secret", "pending_setup_intent"],
            **_trial(trial_days, trial_end, on_missing_payment_method),
        }
        return self._call(
            "subscriptions.create",
            lambda c: c.v1.subscriptions.create(params, keyed(idempotency_key)),
        )

    def retrieve_subscription(self, *, subscription_id: str) -> Json:
        """Return the subscription as it is now. Raises StripeNotFound."""
        return self._call(
            "subscriptions.retrieve", lambda c: c.v1.subscriptions.retrieve(subscription_id)
        )

    def list_subscriptions(self, *, customer_id: str) -> list[Json]:
        """Return all subscriptions of a customer, ended ones too, newest first."""
        return self._transport.all_of(
            "subscriptions.list",
            {"customer": customer_id, "status": "all"},
            lambda c, page: c.v1.subscriptions.list(page),
        )

    def list_subscriptions_on(self, *, price_id: str) -> list[Json]:
        """Return the subscriptions that carry a price and are not cancelled, newest first."""
        return self._transport.all_of(
            "subscriptions.list",
            {"price": price_id},
            lambda c, page: c.v1.subscriptions.list(page),
        )

    def preview_change(
        self,
        *,
        subscription_id: str,
        item_id: str,
        price_id: str,
        proration: Proration = "always_invoice",
        proration_date: int | None = None,
        end_trial: bool = False,
        quantity: int = 1,
        further_items: Sequence[ItemChange] = (),
    ) -> Json:
        """Return the invoice a change would make; nothing is written.

        Under `always_invoice` its `amount_due` is due now; under `create_prorations`
        it is the next renewal, whose proration lines are what the change adds.
        """
        details = _change(
            item_id, price_id, quantity, proration, proration_date, end_trial, further_items
        )
        params: Any = {"subscription": subscription_id, "subscription_details": details}
        return self._call("invoices.create_preview", lambda c: c.v1.invoices.create_preview(params))

    def preview_renewal(self, *, subscription_id: str) -> Json:
        """Return the next invoice as things stand."""
        return self._call(
            "invoices.create_preview",
            lambda c: c.v1.invoices.create_preview({"subscription": subscription_id}),
        )

    def change_subscription(
        self,
        *,
        subscription_id: str,
        item_id: str,
        price_id: str,
        idempotency_key: str,
        proration: Proration = "always_invoice",
        proration_date: int | None = None,
        end_trial: bool = False,
        quantity: int = 1,
        further_items: Sequence[ItemChange] = (),
        payment_behavior: Payment = "error_if_incomplete",
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Change now, with `latest_invoice` expanded.

        Raises CardDeclined when what is due now cannot be paid; nothing changed then.
        """
        params: Any = {
            **_change(
                item_id, price_id, quantity, proration, proration_date, end_trial, further_items
            ),
            "payment_behavior": payment_behavior,
            "expand": ["latest_invoice"],
        }
        if metadata:
            params["metadata"] = dict(metadata)
        return self._update("subscriptions.change", subscription_id, params, idempotency_key)

    def set_cancel_at_period_end(
        self, *, subscription_id: str, cancel: bool, idempotency_key: str
    ) -> Json:
        """Let it end with its period, or take that back. A schedule has to be released first."""
        params = {"cancel_at_period_end": cancel}
        return self._update("subscriptions.update", subscription_id, params, idempotency_key)

    def set_subscription_card(
        self, *, subscription_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json:
        """Charge this card of the customer for the subscription; Stripe takes none away again."""
        params = {"default_payment_method": payment_method_id}
        return self._update("subscriptions.update", subscription_id, params, idempotency_key)

    def end_trial(self, *, subscription_id: str, idempotency_key: str) -> Json:
        """End the trial now; the first period is billed at once."""
        params = {
            "trial_end": "now",
            "payment_behavior": "error_if_incomplete",
            "expand": ["latest_invoice"],
        }
        return self._update("subscriptions.update", subscription_id, params, idempotency_key)

    def _update(self, operation: str, id_: str, params: Any, key: str) -> Json:
        return self._call(operation, lambda c: c.v1.subscriptions.update(id_, params, keyed(key)))

    def cancel_subscription(
        self, *, subscription_id: str, invoice_now: bool = False, prorate: bool = False
    ) -> Json:
        """Cancel now. Raises StripeNotFound when it has ended already."""
        params: Any = {"invoice_now": invoice_now, "prorate": prorate}
        return self._call(
            "subscriptions.cancel", lambda c: c.v1.subscriptions.cancel(subscription_id, params)
        )

    def resume_subscription(self, *, subscription_id: str, idempotency_key: str) -> Json:
        """Let a paused subscription go on, its cycle beginning now."""
        params: Any = {"billing_cycle_anchor": {"type": "now"}, "expand": ["latest_invoice"]}
        return self._call(
            "subscriptions.resume",
            lambda c: c.v1.subscriptions.resume(subscription_id, params, keyed(idempotency_key)),
        )

    # Schedules

    def create_schedule(self, *, subscription_id: str, idempotency_key: str) -> Json:
        """Put the subscription under a schedule whose one phase is the current period."""
        params: Any = {"from_subscription": subscription_id}
        return self._call(
            "subscription_schedules.create",
            lambda c: c.v1.subscription_schedules.create(params, keyed(idempotency_key)),
        )

    def retrieve_schedule(self, *, schedule_id: str) -> Json:
        """Return one schedule."""
        return self._call(
            "subscription_schedules.retrieve",
            lambda c: c.v1.subscription_schedules.retrieve(schedule_id),
        )

    def schedule_change(
        self,
        *,
        subscription: Json,
        price_id: str,
        idempotency_key: str,
        interval: Literal["day", "week", "month", "year"] = "month",
        item_id: str | None = None,
        quantity: int | None = None,
        further_items: Sequence[ItemChange] = (),
    ) -> Json:
        """Change to `price_id` when the current period of this (fetched) subscription ends.

        It is the price of `item_id` (of the first that is not metered, where that is
        left out) that changes, and with `quantity` how many of it; `further_items` come
        or go with it, as in `change_subscription`; all else goes on as it is (`phases`).
        Resumable: a
        schedule that is already there is rewritten. Returns the schedule.
        """
        with self._transport.session():
            attached = subscription.get("schedule")
            if attached:
                schedule = self.retrieve_schedule(schedule_id=attached)
            else:
                schedule = self.create_schedule(
                    subscription_id=subscription["id"], idempotency_key=f"{idempotency_key}:create"
                )
            params: Any = two_phases(
                schedule=schedule,
                subscription=subscription,
                price_id=price_id,
                interval=interval,
                item_id=item_id,
                quantity=quantity,
                further_items=further_items,
            )
            # Writing phases twice is writing them once. What they repeat may have changed
            # since a lost answer, and a key does not go with other parameters.
            key = f"{idempotency_key}:phases:{_digest(params)}"
            return self._call(
                "subscription_schedules.update",
                lambda c: c.v1.subscription_schedules.update(schedule["id"], params, keyed(key)),
            )

    def set_schedule_card(
        self, *, schedule_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json:
        """Charge this card of the customer in the phases of the schedule that name none."""
        params: Any = {"default_settings": {"default_payment_method": payment_method_id}}
        return self._call(
            "subscription_schedules.update",
            lambda c: c.v1.subscription_schedules.update(
                schedule_id, params, keyed(idempotency_key)
            ),
        )

    def release_schedule(self, *, schedule_id: str, idempotency_key: str) -> Json:
        """Let the subscription go on by itself. One that is over already is returned as it is."""
        with self._transport.session():
            try:
                return self._call(
                    "subscription_schedules.release",
                    lambda c: c.v1.subscription_schedules.release(
                        schedule_id, {}, keyed(idempotency_key)
                    ),
                )
            except StripeRefused:
                found = self.retrieve_schedule(schedule_id=schedule_id)
                if found["status"] not in _OVER:
                    raise
                return found


def _digest(params: Json) -> str:
    return sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]


def _trial(days: int, end: int | None, on_missing: TrialEnd) -> Json:
    if end is None and not days:
        return {}
    length: Json = {"trial_period_days": days} if end is None else {"trial_end": end}
    return {
        **length,
        "trial_settings": {"end_behavior": {"missing_payment_method": on_missing}},
    }


def _change(
    item_id: str,
    price_id: str,
    quantity: int,
    proration: Proration,
    proration_date: int | None,
    end_trial: bool,
    further_items: Sequence[ItemChange],
) -> Json:
    """Return what preview and update have in common, so that they agree."""
    items = [{"id": item_id, "price": price_id, "quantity": quantity}, *further_items]
    change: Json = {"items": items, "proration_behavior": proration}
    if proration_date is not None:
        change["proration_date"] = proration_date
    if end_trial:
        change["trial_end"] = "now"
    return change
