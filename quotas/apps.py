"""What an organisation may use and what it has used."""

from django.apps import AppConfig


class QuotasConfig(AppConfig):
    """What an organisation may use and what it has used."""

    name = "quotas"
    default_auto_field = "django.db.models.BigAutoField"
