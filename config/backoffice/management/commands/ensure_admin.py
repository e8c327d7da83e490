"""Make the first member of staff."""

import os
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """`manage.py ensure_admin`, reading ADMIN_USERNAME and ADMIN_PASSWORD."""

    help = "Make the superuser ADMIN_USERNAME (admin) with ADMIN_PASSWORD, unless it is there."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the account once; an account that is there keeps its password."""
        username = os.environ.get("ADMIN_USERNAME") or "admin"
        users = get_user_model()._default_manager
        if users.filter(username=username).exists():
            self.stdout.write(f"{username} is there")
            return
        password = os.environ.get("ADMIN_PASSWORD")
        if not password:
            raise CommandError("ADMIN_PASSWORD is not set")
        users.create_superuser(username=username, password=password)  # type: ignore[attr-defined]
        self.stdout.write(f"{username} made")
