"""Products, prices, meters and use; events and endpoints."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Literal

from billing.stripe_gateway.customers import keyed
from billing.stripe_gateway.transport import Json, Transport

#: Stripe looks up this many prices at once.
_LOOKUPS = 10


class MeterKey(StrEnum):
    """Where in a report our meters read whose use it is, and how much."""

    CUSTOMER = "stripe_customer_id"
    VALUE = "value"


class Catalogue:
    """What is sold, how use of it is reported, and what Stripe says happened."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._call = transport.call

    def find_price(self, *, lookup_key: str) -> Json | None:
        """Return the active price of a lookup key (a plan's code), or None."""
        found = self.list_prices(lookup_keys=[lookup_key])
        return found[0] if found else None

    def list_prices(self, *, lookup_keys: Sequence[str]) -> list[Json]:
        """Return the active prices of these lookup keys, however many they are."""
        found: list[Json] = []
        for start in range(0, len(lookup_keys), _LOOKUPS):
            some = list(lookup_keys[start : start + _LOOKUPS])
            found += self._transport.all_of(
                "prices.list",
                {"lookup_keys": some, "active": True},
                lambda c, page: c.v1.prices.list(page),
            )
        return found

    def retrieve_price(self, *, price_id: str) -> Json:
        """Return one price."""
        return self._call("prices.retrieve", lambda c: c.v1.prices.retrieve(price_id))

    def list_all_prices(self, *, product_id: str | None = None) -> list[Json]:
        """Return all prices (of a product), those that are not sold any more too, newest first."""
        params = {} if product_id is None else {"product": product_id}
        return self._transport.all_of("prices.list", params, lambda c, page: c.v1.prices.list(page))

    def create_price(
        self,
        *,
        product_id: str,
        lookup_key: str,
        amount: str,
        currency: str,
        interval: Literal["day", "week", "month", "year"],
        idempotency_key: str,
        meter_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Make a price of `amount` (minor units, decimal text), metered where a meter is given.

        It takes the lookup key over from an older price: amounts never change at Stripe.
        """
        recurring: Json = {"interval": interval}
        if meter_id is not None:
            recurring |= {"usage_type": "metered", "meter": meter_id}
        params: Any = {
            "product": product_id,
            "lookup_key": lookup_key,
            "transfer_lookup_key": True,
            "unit_amount_decimal": amount,
            "currency": currency,
            "recurring": recurring,
        }
        if metadata:
            params["metadata"] = dict(metadata)
        return self._call(
            "prices.create", lambda c: c.v1.prices.create(params, keyed(idempotency_key))
        )

    def update_price(
        self,
        *,
        price_id: str,
        idempotency_key: str,
        active: bool | None = None,
        lookup_key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Sell a price again or no more, say what it is; a lookup key is taken from who has it."""
        params: Any = {}
        if active is not None:
            params["active"] = active
        if lookup_key is not None:
            params |= {"lookup_key": lookup_key, "transfer_lookup_key": True}
        if metadata:
            params["metadata"] = dict(metadata)
        return self._call(
            "prices.update", lambda c: c.v1.prices.update(price_id, params, keyed(idempotency_key))
        )

    def retrieve_product(self, *, product_id: str) -> Json:
        """Return one product. Raises StripeNotFound."""
        return self._call("products.retrieve", lambda c: c.v1.products.retrieve(product_id))

    def update_product(
        self,
        *,
        product_id: str,
        idempotency_key: str,
        active: bool | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Json:
        """Sell a product again or no more; say what it is."""
        params: Any = {} if active is None else {"active": active}
        if metadata:
            params["metadata"] = dict(metadata)
        return self._call(
            "products.update",
            lambda c: c.v1.products.update(product_id, params, keyed(idempotency_key)),
        )

    def list_products(self) -> list[Json]:
        """Return the active products."""
        return self._transport.all_of(
            "products.list", {"active": True}, lambda c, page: c.v1.products.list(page)
        )

    def create_product(
        self, *, product_id: str, name: str, plan_code: str, idempotency_key: str
    ) -> Json:
        """Make a product with an id of our choice."""
        params: Any = {"id": product_id, "name": name, "metadata": {"plan_code": plan_code}}
        return self._call(
            "products.create", lambda c: c.v1.products.create(params, keyed(idempotency_key))
        )

    def list_meters(self) -> list[Json]:
        """Return the active meters."""
        return self._transport.all_of(
            "billing.meters.list",
            {"status": "active"},
            lambda c, page: c.v1.billing.meters.list(page),
        )

    def create_meter(self, *, event_name: str, display_name: str, idempotency_key: str) -> Json:
        """Make a meter that sums `value` per customer."""
        params: Any = {
            "event_name": event_name,
            "display_name": display_name,
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": MeterKey.CUSTOMER.value},
            "value_settings": {"event_payload_key": MeterKey.VALUE.value},
        }
        return self._call(
            "billing.meters.create",
            lambda c: c.v1.billing.meters.create(params, keyed(idempotency_key)),
        )

    def create_meter_event(
        self,
        *,
        event_name: str,
        customer_id: str,
        value: int,
        identifier: str,
        timestamp: int,
        idempotency_key: str,
    ) -> Json:
        """Report use once per `identifier`, in the billing period that contains `timestamp`.

        Raises StripeRefused with the code `duplicate_meter_event` for a repeated one.
        """
        params: Any = {
            "event_name": event_name,
            "identifier": identifier,
            "timestamp": timestamp,
            "payload": {MeterKey.CUSTOMER.value: customer_id, MeterKey.VALUE.value: str(value)},
        }
        return self._call(
            "billing.meter_events.create",
            lambda c: c.v1.billing.meter_events.create(params, keyed(idempotency_key)),
        )

    def metered_use(self, *, meter_id: str, customer_id: str, start: int, end: int) -> int:
        """Return what was reported for a customer in `[start, end)`, both whole minutes."""
        params: Any = {"customer": customer_id, "start_time": start, "end_time": end}
        found = self._call(
            "billing.meters.event_summaries.list",
            lambda c: c.v1.billing.meters.event_summaries.list(meter_id, params),
        )["data"]
        return int(sum(one["aggregated_value"] for one in found))

    def list_events(
        self,
        *,
        types: Sequence[str] = (),
        created_from: int | None = None,
        created_to: int | None = None,
        undelivered_only: bool = False,
        starting_after: str | None = None,
        ending_before: str | None = None,
        limit: int = 100,
    ) -> Json:
        """Return one page of events (`data`, `has_more`), newest first; Stripe keeps 30 days.

        `created_from` is included, `created_to` is not (Unix seconds). After
        `ending_before` the page holds the events that follow that one in time.
        """
        params: Any = {"limit": limit}
        created = {"gte": created_from, "lt": created_to}
        bounds = {name: at for name, at in created.items() if at is not None}
        if bounds:
            params["created"] = bounds
        if types:
            params["types"] = list(types)
        if undelivered_only:
            params["delivery_success"] = False
        if starting_after is not None:
            params["starting_after"] = starting_after
        if ending_before is not None:
            params["ending_before"] = ending_before
        return self._call("events.list", lambda c: c.v1.events.list(params))

    def retrieve_event(self, *, event_id: str) -> Json:
        """Return one event."""
        return self._call("events.retrieve", lambda c: c.v1.events.retrieve(event_id))

    def list_webhook_endpoints(self) -> list[Json]:
        """Return the webhook endpoints of the account."""
        return self._transport.all_of(
            "webhook_endpoints.list", {}, lambda c, page: c.v1.webhook_endpoints.list(page)
        )

    def retrieve_account(self) -> Json:
        """Return the account that the key is of."""
        return self._call("accounts.retrieve_current", lambda c: c.v1.accounts.retrieve_current())

    def server_time(self) -> datetime:
        """Return Stripe's clock (its Date header), to measure ours against."""
        headers = self._transport.headers_of(lambda c: c.v1.prices.list({"limit": 1}))
        return parsedate_to_datetime({k.lower(): v for k, v in headers.items()}["date"])
