"""Organisations, plans, and everything that Stripe is asked."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Organisations, plans, and everything that Stripe is asked."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"
