"""Organisations, plans, and everything that Stripe is asked."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Organisations, plans, and everything that Stripe is asked."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the Stripe gateway; nothing is asked of Stripe before it is needed."""
        from billing.stripe_gateway import get_gateway
        from config.contract.clients import clients

        clients.register("stripe", get_gateway)
