"""The operations that are answered, with the parameters that are acted on.

Other parameters of Stripe's are refused (`sandbox_unsupported`), not ignored in silence.
"""

from billing.sandbox import (
    account,
    cards,
    catalogue,
    charges,
    checkout,
    coupons,
    credit_notes,
    customers,
    disputes,
    events,
    invoices,
    meters,
    oneoff,
    portal,
    preview,
    schedules,
    setup_intents,
    subscriptions,
    taxes,
    updates,
)
from billing.sandbox.routes import Route, route

_CUSTOMER = "address balance description email invoice_settings metadata name phone"
_CUSTOMER += " preferred_locales shipping tax_exempt"
_PAGE = "limit starting_after ending_before created"
_PRODUCT = "active description images marketing_features metadata name shippable"
_PRODUCT += " statement_descriptor tax_code unit_label url"
_SUBSCRIPTION = "items metadata description trial_end trial_settings payment_behavior"
_SUBSCRIPTION += " payment_settings default_payment_method cancel_at_period_end off_session"
_SUBSCRIPTION += " proration_behavior collection_method days_until_due discounts"
_SUBSCRIPTION += " default_tax_rates automatic_tax billing_thresholds invoice_settings"
_SUBSCRIPTION += " application_fee_percent on_behalf_of transfer_data"
_COUPON = "amount_off applies_to currency duration duration_in_months id max_redemptions metadata"
_COUPON += " name percent_off redeem_by"
_TAX_RATE = "active country description display_name jurisdiction metadata state tax_type"
_PORTAL = "business_profile default_return_url features login_page metadata name"

ROUTES = [
    route("POST customers", "customer_create", customers.create, f"{_CUSTOMER} payment_method"),
    route("GET customers", "customer_list", customers.listing, f"{_PAGE} email"),
    route("GET customers/search", "customer_search", customers.search, "query limit"),
    route("GET customers/{id}", "customer_retrieve", customers.retrieve),
    route("POST customers/{id}", "customer_update", customers.update, _CUSTOMER, "customer"),
    route("DELETE customers/{id}", "customer_delete", customers.delete, kind="customer"),
    route("POST products", "product_create", catalogue.create_product, f"{_PRODUCT} id"),
    route("GET products", "product_list", catalogue.list_products, f"{_PAGE} active"),
    route("GET products/{id}", "product_retrieve", catalogue.retrieve("product")),
    route(
        "POST products/{id}",
        "product_update",
        catalogue.update_product,
        f"{_PRODUCT} default_price",
    ),
    route(
        "POST prices",
        "price_create",
        catalogue.create_price,
        "active billing_scheme currency lookup_key metadata nickname product product_data"
        " recurring tax_behavior tiers tiers_mode transfer_lookup_key transform_quantity"
        " unit_amount unit_amount_decimal",
    ),
    route(
        "GET prices",
        "price_list",
        catalogue.list_prices,
        f"{_PAGE} active currency lookup_keys product type",
    ),
    route("GET prices/{id}", "price_retrieve", catalogue.retrieve("price")),
    route(
        "POST prices/{id}",
        "price_update",
        catalogue.update_price,
        "active lookup_key metadata nickname tax_behavior transfer_lookup_key",
    ),
    route(
        "POST subscriptions",
        "subscription_create",
        subscriptions.create,
        f"{_SUBSCRIPTION} customer currency trial_period_days billing_mode",
    ),
    route(
        "GET subscriptions",
        "subscription_list",
        subscriptions.listing,
        f"{_PAGE} customer price status collection_method",
    ),
    route("GET subscriptions/{id}", "subscription_retrieve", subscriptions.retrieve),
    route(
        "POST subscriptions/{id}",
        "subscription_update",
        updates.update,
        f"{_SUBSCRIPTION} billing_cycle_anchor cancel_at cancellation_details proration_date"
        " pause_collection",
        "subscription",
    ),
    route(
        "DELETE subscriptions/{id}",
        "subscription_cancel",
        subscriptions.cancel,
        "cancellation_details invoice_now prorate",
        "subscription",
    ),
    route(
        "POST subscriptions/{id}/resume",
        "subscription_resume",
        updates.resume,
        "billing_cycle_anchor payment_behavior proration_behavior",
        "subscription",
    ),
    route(
        "DELETE subscriptions/{id}/discount",
        "subscription_delete_discount",
        updates.delete_discount,
        kind="subscription",
    ),
    route("POST coupons", "coupon_create", coupons.create_coupon, _COUPON),
    route("GET coupons", "coupon_list", coupons.list_coupons, _PAGE),
    route("GET coupons/{id}", "coupon_retrieve", coupons.retrieve_coupon),
    route("POST coupons/{id}", "coupon_update", coupons.update_coupon, "metadata name"),
    route("DELETE coupons/{id}", "coupon_delete", coupons.delete_coupon),
    route(
        "POST promotion_codes",
        "promotion_code_create",
        coupons.create_promotion_code,
        "active code customer expires_at max_redemptions metadata promotion",
    ),
    route(
        "GET promotion_codes",
        "promotion_code_list",
        coupons.list_promotion_codes,
        f"{_PAGE} active code coupon customer",
    ),
    route(
        "GET promotion_codes/{id}",
        "promotion_code_retrieve",
        catalogue.retrieve("promotion_code"),
    ),
    route(
        "POST promotion_codes/{id}",
        "promotion_code_update",
        coupons.update_promotion_code,
        "active metadata",
    ),
    route("POST tax_rates", "tax_rate_create", taxes.create, f"{_TAX_RATE} inclusive percentage"),
    route("GET tax_rates", "tax_rate_list", taxes.listing, f"{_PAGE} active inclusive"),
    route("GET tax_rates/{id}", "tax_rate_retrieve", catalogue.retrieve("tax_rate")),
    route("POST tax_rates/{id}", "tax_rate_update", taxes.update, _TAX_RATE),
    route(
        "POST subscription_schedules",
        "subscription_schedule_create",
        schedules.create,
        "from_subscription metadata",
    ),
    route(
        "GET subscription_schedules",
        "subscription_schedule_list",
        schedules.listing,
        f"{_PAGE} customer",
    ),
    route("GET subscription_schedules/{id}", "subscription_schedule_retrieve", schedules.retrieve),
    route(
        "POST subscription_schedules/{id}",
        "subscription_schedule_update",
        schedules.update,
        "default_settings end_behavior metadata phases proration_behavior",
        "subscription_schedule",
    ),
    route(
        "POST subscription_schedules/{id}/release",
        "subscription_schedule_release",
        schedules.release,
        kind="subscription_schedule",
    ),
    route(
        "POST subscription_schedules/{id}/cancel",
        "subscription_schedule_cancel",
        schedules.cancel,
        "invoice_now",
        "subscription_schedule",
    ),
    route(
        "POST invoices/create_preview",
        "invoice_create_preview",
        preview.create_preview,
        "customer discounts subscription subscription_details",
    ),
    route(
        "GET invoices",
        "invoice_list",
        invoices.listing,
        f"{_PAGE} customer status subscription collection_method",
    ),
    route(
        "POST invoices",
        "invoice_create",
        oneoff.create_invoice,
        "auto_advance collection_method currency customer description metadata"
        " pending_invoice_items_behavior",
    ),
    route(
        "POST invoiceitems",
        "invoice_item_create",
        oneoff.create_item,
        "currency customer description invoice metadata period quantity unit_amount_decimal",
    ),
    route(
        "GET invoiceitems",
        "invoice_item_list",
        oneoff.list_items,
        f"{_PAGE} customer invoice pending",
    ),
    route("GET invoices/{id}", "invoice_retrieve", invoices.retrieve),
    route("GET invoices/{id}/lines", "invoice_line_item_list", invoices.list_lines, "limit"),
    route(
        "POST invoices/{id}/finalize",
        "invoice_finalize_invoice",
        invoices.finalize_operation,
        "auto_advance",
        "invoice",
    ),
    route(
        "POST invoices/{id}/pay",
        "invoice_pay",
        invoices.pay,
        "off_session paid_out_of_band payment_method",
        "invoice",
    ),
    route(
        "POST invoices/{id}/void", "invoice_void_invoice", invoices.void_operation, kind="invoice"
    ),
    route(
        "POST invoices/{id}/mark_uncollectible",
        "invoice_mark_uncollectible",
        invoices.give_up_operation,
        kind="invoice",
    ),
    route(
        "GET invoice_payments",
        "invoice_payment_list",
        charges.list_payments,
        f"{_PAGE} invoice payment status",
    ),
    route(
        "GET invoice_payments/{id}",
        "invoice_payment_retrieve",
        catalogue.retrieve("invoice_payment"),
    ),
    route(
        "GET payment_intents/{id}", "payment_intent_retrieve", catalogue.retrieve("payment_intent")
    ),
    route("GET charges", "charge_list", charges.list_charges, f"{_PAGE} customer payment_intent"),
    route("GET charges/{id}", "charge_retrieve", catalogue.retrieve("charge")),
    route(
        "POST refunds",
        "refund_create",
        charges.create_refund,
        "amount charge metadata payment_intent reason",
    ),
    route("GET refunds", "refund_list", charges.list_refunds, f"{_PAGE} charge payment_intent"),
    route("GET refunds/{id}", "refund_retrieve", catalogue.retrieve("refund")),
    route("GET disputes", "dispute_list", disputes.listing, f"{_PAGE} charge payment_intent"),
    route("GET disputes/{id}", "dispute_retrieve", catalogue.retrieve("dispute")),
    route("POST disputes/{id}", "dispute_update", disputes.update, "evidence submit", "dispute"),
    route("POST disputes/{id}/close", "dispute_close", disputes.close, kind="dispute"),
    route(
        "POST credit_notes",
        "credit_note_create",
        credit_notes.create,
        "amount credit_amount invoice memo metadata out_of_band_amount reason refund_amount",
    ),
    route(
        "GET credit_notes", "credit_note_list", credit_notes.listing, f"{_PAGE} customer invoice"
    ),
    route("GET credit_notes/{id}", "credit_note_retrieve", catalogue.retrieve("credit_note")),
    route(
        "POST credit_notes/{id}/void",
        "credit_note_void_credit_note",
        credit_notes.void,
        kind="credit_note",
    ),
    route(
        "GET payment_methods",
        "payment_method_list",
        cards.listing,
        "customer type limit starting_after ending_before",
    ),
    route("GET payment_methods/{id}", "payment_method_retrieve", cards.retrieve),
    route(
        "POST payment_methods/{id}/attach",
        "payment_method_attach",
        cards.attach_operation,
        "customer",
    ),
    route(
        "POST payment_methods/{id}/detach",
        "payment_method_detach",
        cards.detach,
        kind="payment_method",
    ),
    route(
        "POST setup_intents",
        "setup_intent_create",
        setup_intents.create,
        "automatic_payment_methods confirm customer description metadata payment_method"
        " return_url usage",
    ),
    route("GET setup_intents/{id}", "setup_intent_retrieve", setup_intents.retrieve),
    route(
        "POST setup_intents/{id}/confirm",
        "setup_intent_confirm",
        setup_intents.confirm,
        "payment_method return_url",
        "setup_intent",
    ),
    route(
        "POST setup_intents/{id}/cancel",
        "setup_intent_cancel",
        setup_intents.cancel,
        "cancellation_reason",
        "setup_intent",
    ),
    route(
        "POST checkout/sessions",
        "checkout.session_create",
        checkout.create,
        "mode customer line_items success_url cancel_url client_reference_id metadata"
        " payment_method_collection subscription_data expires_at locale"
        " allow_promotion_codes allowed_payment_method_types billing_address_collection",
    ),
    route(
        "GET checkout/sessions",
        "checkout.session_list",
        checkout.listing,
        f"{_PAGE} customer subscription status",
    ),
    route("GET checkout/sessions/{id}", "checkout.session_retrieve", checkout.retrieve),
    route(
        "POST checkout/sessions/{id}/expire",
        "checkout.session_expire",
        checkout.expire,
        kind="checkout.session",
    ),
    route(
        "POST billing_portal/sessions",
        "billing_portal.session_create",
        portal.create_session,
        "configuration customer flow_data locale return_url",
    ),
    route(
        "POST billing_portal/configurations",
        "billing_portal.configuration_create",
        portal.create_configuration,
        _PORTAL,
    ),
    route(
        "GET billing_portal/configurations",
        "billing_portal.configuration_list",
        portal.list_configurations,
        "active is_default limit starting_after ending_before",
    ),
    route(
        "GET billing_portal/configurations/{id}",
        "billing_portal.configuration_retrieve",
        catalogue.retrieve("billing_portal.configuration"),
    ),
    route(
        "POST billing_portal/configurations/{id}",
        "billing_portal.configuration_update",
        portal.update_configuration,
        f"{_PORTAL} active",
    ),
    route("GET account", "account_retrieve_current", account.retrieve),
    route("GET events", "event_list", events.listing, f"{_PAGE} type types delivery_success"),
    route("GET events/{id}", "event_retrieve", events.retrieve),
    route(
        "GET webhook_endpoints",
        "webhook_endpoint_list",
        events.list_endpoints,
        "limit starting_after ending_before",
    ),
    route(
        "POST webhook_endpoints",
        "webhook_endpoint_create",
        events.create_endpoint,
        "url enabled_events api_version description metadata",
    ),
    route(
        "GET webhook_endpoints/{id}",
        "webhook_endpoint_retrieve",
        catalogue.retrieve("webhook_endpoint"),
    ),
    route(
        "POST billing/meters",
        "billing.meter_create",
        meters.create,
        "customer_mapping default_aggregation display_name event_name"
        " event_time_window value_settings",
    ),
    route(
        "GET billing/meters",
        "billing.meter_list",
        meters.listing,
        "status limit starting_after ending_before",
    ),
    route("GET billing/meters/{id}", "billing.meter_retrieve", catalogue.retrieve("billing.meter")),
    route("POST billing/meters/{id}", "billing.meter_update", meters.update, "display_name"),
    route(
        "GET billing/meters/{id}/event_summaries",
        "billing.meter_event_summary_list",
        meters.summaries,
        "customer start_time end_time",
    ),
    route(
        "POST billing/meter_events",
        "billing.meter_event_create",
        meters.create_event,
        "event_name identifier payload timestamp",
    ),
]


def match(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the operation and the ids in its path."""
    for known in ROUTES:
        if known.method == method and (found := known.pattern.match(path)):
            return known, found.groupdict()
    return None
