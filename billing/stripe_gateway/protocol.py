"""What the rest of the project may ask of Stripe, for type checkers and test doubles.

The promises of each method are with its implementation.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, Protocol

from billing.stripe_gateway.invoices import InvoiceStatus
from billing.stripe_gateway.phases import ItemChange
from billing.stripe_gateway.subscriptions import Payment, Proration, TrialEnd
from billing.stripe_gateway.transport import Json


class Gateway(Protocol):
    """Every operation the product uses. Keyword-only; JSON out; ApiErrors on failure."""

    def session(
        self, *, org_id: str | None = None, seconds: float = 20.0
    ) -> AbstractContextManager[None]: ...

    def place(self, *, org_id: str) -> AbstractContextManager[None]: ...

    # Customers

    def ensure_customer(
        self,
        *,
        org_id: str,
        email: str,
        name: str,
        idempotency_key: str,
        customer_id: str | None = None,
    ) -> str: ...

    def retrieve_customer(self, *, customer_id: str) -> Json: ...

    def update_customer(
        self, *, customer_id: str, name: str, email: str, idempotency_key: str
    ) -> Json: ...

    def set_default_payment_method(
        self, *, customer_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json: ...

    def attach_payment_method(
        self, *, customer_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json: ...

    def detach_payment_method(self, *, payment_method_id: str, idempotency_key: str) -> Json: ...

    def list_payment_methods(self, *, customer_id: str) -> list[Json]: ...

    def create_setup_intent(self, *, customer_id: str, idempotency_key: str) -> Json: ...

    def retrieve_setup_intent(self, *, setup_intent_id: str) -> Json: ...

    def confirm_setup_intent(
        self, *, setup_intent_id: str, payment_method_id: str, return_url: str, idempotency_key: str
    ) -> Json: ...

    # Subscriptions

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
    ) -> Json: ...

    def retrieve_subscription(self, *, subscription_id: str) -> Json: ...

    def list_subscriptions(self, *, customer_id: str) -> list[Json]: ...

    def list_subscriptions_on(self, *, price_id: str) -> list[Json]: ...

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
    ) -> Json: ...

    def preview_renewal(self, *, subscription_id: str) -> Json: ...

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
    ) -> Json: ...

    def set_cancel_at_period_end(
        self, *, subscription_id: str, cancel: bool, idempotency_key: str
    ) -> Json: ...

    def set_subscription_card(
        self, *, subscription_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json: ...

    def end_trial(self, *, subscription_id: str, idempotency_key: str) -> Json: ...

    def cancel_subscription(
        self, *, subscription_id: str, invoice_now: bool = False, prorate: bool = False
    ) -> Json: ...

    def resume_subscription(self, *, subscription_id: str, idempotency_key: str) -> Json: ...

    def set_schedule_card(
        self, *, schedule_id: str, payment_method_id: str, idempotency_key: str
    ) -> Json: ...

    def create_schedule(self, *, subscription_id: str, idempotency_key: str) -> Json: ...

    def retrieve_schedule(self, *, schedule_id: str) -> Json: ...

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
    ) -> Json: ...

    def release_schedule(self, *, schedule_id: str, idempotency_key: str) -> Json: ...

    # Invoices

    def list_invoices(
        self,
        *,
        customer_id: str,
        limit: int = 10,
        starting_after: str | None = None,
        status: InvoiceStatus | None = None,
        with_payments: bool = False,
    ) -> Json: ...

    def list_drafts(self, *, customer_id: str) -> list[Json]: ...

    def retrieve_invoice(self, *, invoice_id: str) -> Json: ...

    def pay_invoice(
        self, *, invoice_id: str, idempotency_key: str, payment_method_id: str | None = None
    ) -> Json: ...

    def void_invoice(self, *, invoice_id: str, idempotency_key: str) -> Json: ...

    def finalize_invoice(self, *, invoice_id: str, idempotency_key: str) -> Json: ...

    def create_invoice_item(
        self,
        *,
        customer_id: str,
        invoice_id: str,
        currency: str,
        unit_amount: str,
        quantity: int,
        description: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> Json: ...

    def list_invoice_items(self, *, customer_id: str, pending: bool = False) -> list[Json]: ...

    def create_invoice(
        self,
        *,
        customer_id: str,
        currency: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> Json: ...

    def create_checkout_session(
        self,
        *,
        customer_id: str,
        price_id: str,
        org_id: str,
        success_url: str,
        cancel_url: str,
        idempotency_key: str,
        trial_end: int | None = None,
        trial_days: int = 0,
        expires_at: int | None = None,
        metered_price_ids: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> Json: ...

    def retrieve_checkout_session(self, *, session_id: str) -> Json: ...

    def list_open_checkout_sessions(self, *, customer_id: str) -> list[Json]: ...

    def expire_checkout_session(self, *, session_id: str, idempotency_key: str) -> Json: ...

    def create_portal_session(
        self,
        *,
        customer_id: str,
        return_url: str,
        configuration_id: str,
        idempotency_key: str,
        flow: Literal["payment_method_update"] | None = "payment_method_update",
    ) -> Json: ...

    def list_portal_configurations(self) -> list[Json]: ...

    def create_portal_configuration(self, *, name: str, idempotency_key: str) -> Json: ...

    # Charges

    def list_charges_of_invoice(self, *, invoice_id: str) -> list[Json]: ...

    def list_invoices_paid_by(self, *, payment_intent_id: str) -> list[str]: ...

    def list_charges(self, *, customer_id: str) -> list[Json]: ...

    def list_disputes(self, *, charge_id: str) -> list[Json]: ...

    def retrieve_charge(self, *, charge_id: str) -> Json: ...

    def retrieve_refund(self, *, refund_id: str) -> Json: ...

    def retrieve_dispute(self, *, dispute_id: str) -> Json: ...

    def retrieve_credit_note(self, *, credit_note_id: str) -> Json: ...

    def retrieve_invoice_payment(self, *, invoice_payment_id: str) -> Json: ...

    # Catalogue

    def find_price(self, *, lookup_key: str) -> Json | None: ...

    def list_prices(self, *, lookup_keys: Sequence[str]) -> list[Json]: ...

    def retrieve_price(self, *, price_id: str) -> Json: ...

    def list_all_prices(self, *, product_id: str | None = None) -> list[Json]: ...

    def update_price(
        self,
        *,
        price_id: str,
        idempotency_key: str,
        active: bool | None = None,
        lookup_key: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Json: ...

    def retrieve_product(self, *, product_id: str) -> Json: ...

    def update_product(
        self,
        *,
        product_id: str,
        idempotency_key: str,
        active: bool | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Json: ...

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
    ) -> Json: ...

    def list_products(self) -> list[Json]: ...

    def create_product(
        self, *, product_id: str, name: str, plan_code: str, idempotency_key: str
    ) -> Json: ...

    def list_meters(self) -> list[Json]: ...

    def create_meter(self, *, event_name: str, display_name: str, idempotency_key: str) -> Json: ...

    def create_meter_event(
        self,
        *,
        event_name: str,
        customer_id: str,
        value: int,
        identifier: str,
        timestamp: int,
        idempotency_key: str,
    ) -> Json: ...

    def metered_use(self, *, meter_id: str, customer_id: str, start: int, end: int) -> int: ...

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
    ) -> Json: ...

    def retrieve_event(self, *, event_id: str) -> Json: ...

    def list_webhook_endpoints(self) -> list[Json]: ...

    def retrieve_account(self) -> Json: ...

    def server_time(self) -> datetime: ...
