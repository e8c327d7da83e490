"""Customers, plans and the mirror of Stripe, to look at.

Plans come from the catalogue (`manage.py sync_plans`), the mirror from Stripe.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.contact.models import EmailChange
from billing.models import (
    IdempotencyKey,
    InvoiceRef,
    Operation,
    Organization,
    Plan,
    PlanAllowance,
    PlanPrice,
    Statement,
    Subscription,
    UnpricedOverage,
)
from billing.notifications.models import (
    Delivery,
    Notification,
    NotificationAddress,
    NotificationSettings,
)
from config.contract.admin import (
    OrgAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    badge,
    page_link,
    units,
)
from config.contract.history_admin import HistoryAdmin, history_of
from quotas.admin import STATUS_COLOURS


@admin.register(Organization)
class OrganizationAdmin(OrgAdmin):
    """Customers. Where support begins: each page links to all there is of one."""

    known_by = "org_id"
    list_display = ("page", "org_id", "email", "stripe_customer_id", "created_at")
    list_display_links = ("org_id",)
    # Not by e-mail: this search stands in the address. The box in the sidebar is posted.
    search_fields = ("name", "stripe_customer_id__exact")
    search_help_text = "Name, organisation id or Stripe customer id"
    sortable_by = ("page", "created_at")
    date_hierarchy = "created_at"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the columns of the row, its id as a link to everything of the organisation."""
        return [*ReadOnlyAdmin.get_fields(self, request, obj), "page"]

    @admin.display(description="name", ordering="name")
    def page(self, obj: Organization) -> SafeString:
        """The name, as a link to all there is of it."""
        url = reverse("organisation", args=[obj.org_id])
        return format_html('<a class="text-link" href="{}">{}</a>', url, obj.name)


class PlanAllowanceInline(ReadOnlyInline):
    """What the plan includes."""

    model = PlanAllowance
    verbose_name_plural = "what it includes"
    fields = ("metric", "included_units", "overage", "overage_unit_amount")


@admin.register(Plan)
class PlanAdmin(ReadOnlyAdmin):
    """The catalogue, as it was loaded last. Amounts in minor units."""

    known_by = "code"
    inlines = (PlanAllowanceInline,)
    list_display = (
        "code",
        "name",
        units("amount"),
        "currency",
        "interval",
        "trial_days",
        "installation_limit",
        "on_sale",
        "stripe_price_id",
    )
    list_filter = ("on_sale", "interval", "currency")
    search_fields = ("code", "name", "stripe_price_id__exact")
    search_help_text = "Code, name or Stripe price id"


@admin.register(PlanPrice)
class PlanPriceAdmin(ReadOnlyAdmin):
    """What each plan was ever sold at. Amounts in minor units."""

    known_by = "stripe_price_id"
    list_display = (
        "stripe_price_id",
        "plan_code",
        "metric",
        "unit_amount",
        "currency",
        "interval",
        "sold_since",
        "sold_until",
    )
    list_filter = ("plan_code", "interval")
    search_fields = ("stripe_price_id__exact", "plan_code__exact", "metric__exact")
    search_help_text = "Stripe price id, plan or metric"


@admin.register(Subscription)
class SubscriptionAdmin(OrgAdmin):
    """What Stripe said last of each subscription."""

    known_by = "stripe_subscription_id"
    list_display = (
        "stripe_subscription_id",
        "organization",
        badge("status", STATUS_COLOURS),
        "plan_code",
        "current_period_end",
        "trial_ends_at",
        "cancel_at",
        "created_at",
    )
    list_filter = ("status", "plan_code")
    search_fields = ("stripe_subscription_id__exact", "stripe_customer_id__exact")
    search_help_text = "Organisation id, Stripe subscription or customer id"
    sortable_by = ("current_period_end", "trial_ends_at", "cancel_at", "created_at")


class MoneyBack(admin.SimpleListFilter):
    """Which invoices had money go back, or wanted back."""

    title = "money back"
    parameter_name = "dispute"
    _CHOICES = {
        "waits": Q(dispute_status__in=InvoiceRef.DISPUTE_WAITS_FOR_US),
        "open": Q(dispute_status__in=InvoiceRef.DISPUTE_OPEN),
        "disputed": ~Q(dispute_status=""),
        "refunded": Q(amount_refunded__gt=0),
        "refund_failed": Q(refund_failed_at__isnull=False),
        "credited": Q(amount_credited__gt=0),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices in words."""
        return [
            ("waits", "Disputed, to be answered"),
            ("open", "Disputed, open"),
            ("disputed", "Disputed, ever"),
            ("refunded", "Refunded"),
            ("refund_failed", "A refund came back"),
            ("credited", "Credited"),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[InvoiceRef]
    ) -> QuerySet[InvoiceRef]:
        """Narrow the list down."""
        chosen = self._CHOICES.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen)


@admin.register(InvoiceRef)
class InvoiceRefAdmin(OrgAdmin):
    """What is known here of Stripe's invoices. Amounts in minor units."""

    known_by = "stripe_invoice_id"
    list_display = (
        "stripe_invoice_id",
        "organization",
        badge(
            "status",
            {
                "paid": "success",
                "open": "info",
                "void": "warning",
                "uncollectible": "danger",
            },
        ),
        units("total"),
        units("amount_due"),
        units("amount_refunded"),
        units("amount_credited"),
        units("amount_disputed"),
        badge(
            "dispute_status",
            {
                **dict.fromkeys(InvoiceRef.DISPUTE_WAITS_FOR_US, "danger"),
                "under_review": "warning",
                "appeal_under_review": "warning",
                "warning_under_review": "warning",
                "lost": "danger",
                "won": "success",
            },
        ),
        "currency",
        "subscription",
        "created_at",
    )
    list_filter = ("status", MoneyBack)
    search_fields = ("stripe_invoice_id__exact", "stripe_subscription_id__exact")
    search_help_text = "Organisation id, Stripe invoice or subscription id"

    @admin.display(description="subscription")
    def subscription(self, obj: InvoiceRef) -> SafeString:
        """The subscription that it bills."""
        return page_link("billing_subscription", obj.stripe_subscription_id)


@admin.register(EmailChange)
class EmailChangeAdmin(OrgAdmin):
    """Changes of owners' addresses. What a link's token hashes to is not shown."""

    known_by = "uuid"
    hidden = ("token_hash",)
    list_display = (
        "uuid",
        "organization",
        badge("source", {"owner": "info", "staff": "warning", "stripe": "warning"}),
        "previous_email",
        "email",
        "created_at",
        "confirmed_at",
        "withdrawn_at",
        "told_at",
    )
    list_filter = ("source",)
    search_fields = ("uuid__startswith",)
    search_help_text = "Organisation id, or the beginning of the uuid"


@admin.register(Statement)
class StatementAdmin(OrgAdmin):
    """The seals of closed periods."""

    list_display = ("period_key", "organization", "period_start", "sealed_at", "digest")
    search_fields = ("period_key__exact", "digest__exact")
    search_help_text = "Organisation id, period key or digest"


@admin.register(UnpricedOverage)
class UnpricedOverageAdmin(OrgAdmin):
    """Closed periods that went over and are not charged, as no price is known."""

    list_display = ("period_key", "organization", "metric", "units", "noted_at")
    list_filter = ("metric",)
    search_fields = ("period_key__exact",)
    search_help_text = "Organisation id or period key"


@admin.register(Operation)
class OperationAdmin(OrgAdmin):
    """What was asked of Stripe. What was sent and what came back is not shown."""

    known_by = "uuid"
    hidden = ("request", "result")
    list_display = (
        "uuid",
        "kind",
        "organization",
        badge("state", {"done": "success", "started": "info", "failed": "danger"}),
        "attempts",
        "error",
        "created_at",
        "finished_at",
    )
    list_filter = ("state", "kind")
    search_fields = ("uuid__startswith",)
    search_help_text = "Organisation id, or the beginning of the uuid"


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    """Which answers are remembered, for 24 hours. Neither keys nor answers are shown."""

    hidden = ("response",)
    list_display = ("pk", "scope", "status", "operation_page", "created_at")
    list_filter = ("status",)
    list_select_related = ("operation",)
    search_fields = ("scope__startswith",)
    search_help_text = "The beginning of the scope"
    date_hierarchy = "created_at"

    @admin.display(description="operation")
    def operation_page(self, obj: IdempotencyKey) -> SafeString:
        """What the request started."""
        return page_link("billing_operation", str(obj.operation.uuid) if obj.operation else "")


class DeliveryInline(ReadOnlyInline):
    """How it was told."""

    model = Delivery
    verbose_name_plural = "deliveries"
    fields = ("channel", "address", "state", "attempts", "answer", "error", "due_at", "finished_at")


@admin.register(Notification)
class NotificationAdmin(OrgAdmin):
    """What organisations were told."""

    known_by = "message_id"
    inlines = (DeliveryInline,)
    list_display = ("message_id", "organization", "kind", "happened_at", "created_at")
    list_filter = ("kind",)
    search_fields = ("message_id__exact",)
    search_help_text = "Organisation id or webhook id"


@admin.register(Delivery)
class DeliveryAdmin(OrgAdmin):
    """Each way in which something was told, and what came of it."""

    org_lookup = "notification__org_id"
    list_display = (
        "pk",
        "organization",
        "notification_page",
        "channel",
        badge("state", {"done": "success", "waiting": "info", "failed": "danger"}),
        "attempts",
        "answer",
        "error",
        "due_at",
        "finished_at",
    )
    list_filter = ("state", "channel")
    list_select_related = ("notification",)
    search_fields = ("notification__message_id__exact",)
    search_help_text = "Organisation id or webhook id"

    @admin.display(description="notification")
    def notification_page(self, obj: Delivery) -> SafeString:
        """What is told."""
        return page_link("billing_notification", obj.notification.message_id)


@admin.register(NotificationSettings)
class NotificationSettingsAdmin(OrgAdmin):
    """Where organisations want to be told. The signing secrets are stored nowhere."""

    known_by = "org_id"
    list_display = ("org_id", "url", "emails", "updated_at")
    search_fields = ("org_id__exact",)
    search_help_text = "Organisation id"


@admin.register(NotificationAddress)
class NotificationAddressAdmin(OrgAdmin):
    """Addresses that organisations chose, and which of their readers agreed to be told."""

    list_display = (
        "pk",
        "organization",
        "email",
        "created_at",
        "link_sent_at",
        "confirmed_at",
        "withdrawn_at",
    )
    list_filter = (
        ("confirmed_at", admin.EmptyFieldListFilter),
        ("withdrawn_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("email__iexact",)
    search_help_text = "Organisation id or address"


admin.site.register(history_of("billing"), HistoryAdmin)
