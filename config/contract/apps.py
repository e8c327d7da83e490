"""The Django app of the shared contract."""

from django.apps import AppConfig


class ContractConfig(AppConfig):
    """Holds the installation row; everything else here is plain code."""

    name = "config.contract"
    label = "contract"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the deployment's checks, and the copy's client: it connects when first used."""
        from django.conf import settings
        from django.core import checks

        from config.contract.clients import clients
        from config.contract.copy import OrgCopy
        from config.contract.deploy_checks import check_deployment

        clients.register("copy", lambda: OrgCopy(settings.VALKEY_URL))
        checks.register(check_deployment, checks.Tags.security, deploy=True)
