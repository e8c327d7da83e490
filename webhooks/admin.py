"""The inbox of Stripe's events, to look at."""

from django.contrib import admin

from config.contract.admin import OrgAdmin, ReadOnlyAdmin, badge
from webhooks.models import EventCoverage, WebhookEvent


@admin.register(WebhookEvent)
class WebhookEventAdmin(OrgAdmin):
    """What Stripe sent and what became of it, the payload included."""

    known_by = "event_id"
    list_display = (
        "event_id",
        "type",
        badge(
            "state",
            {
                "processed": "success",
                "pending": "info",
                "ignored": "warning",
                "parked": "danger",
            },
        ),
        "organization",
        "object_id",
        "attempts",
        "error",
        "received_at",
        "processed_at",
    )
    list_filter = ("state", "refused")
    search_fields = (
        "event_id__exact",
        "object_id__exact",
        "type__startswith",
        "correlation_id__exact",
    )
    search_help_text = "Organization, event, object or correlation id, or the beginning of the type"


@admin.register(EventCoverage)
class EventCoverageAdmin(ReadOnlyAdmin):
    """How far the inbox was compared with Stripe's own list."""

    list_display = ("__str__", "covered_to", "lease_until")
