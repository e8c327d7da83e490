"""The Django app of the back office."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate


class BackofficeConfig(AppConfig):
    """Loads the Celery application, so that web and commands can ring for a worker."""

    name = "config.backoffice"
    label = "backoffice"

    def ready(self) -> None:
        """Bind shared tasks to our Celery application; keep the roles true; offer the acts."""
        import config.celery  # noqa: F401
        from config.backoffice import sessions
        from config.backoffice.acts import acts_about
        from config.backoffice.roles import sync_roles
        from config.contract.admin import offer_acts

        offer_acts(acts_about)
        user_logged_in.connect(sessions.begin, dispatch_uid="staff session begins")
        post_migrate.connect(sync_roles, sender=self)
