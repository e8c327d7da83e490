"""The Django app of the shared contract."""

from django.apps import AppConfig


class ContractConfig(AppConfig):
    """Holds the installation row; everything else here is plain code."""

    name = "config.contract"
    label = "contract"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the copy's client; it connects when it is first used."""
        from django.conf import settings

        from config.contract.clients import clients
        from config.contract.copy import OrgCopy

        clients.register("copy", lambda: OrgCopy(settings.VALKEY_URL))
