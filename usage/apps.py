"""The ledger of use."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    """The ledger of use."""

    name = "usage"
    default_auto_field = "django.db.models.BigAutoField"
