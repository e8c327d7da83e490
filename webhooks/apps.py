"""Stripe's events: received durably, processed once."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Stripe's events: received durably, processed once."""

    name = "webhooks"
    default_auto_field = "django.db.models.BigAutoField"
