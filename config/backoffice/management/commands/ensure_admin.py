"""Make the first member of staff."""

import os
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError


class Command(BaseCommand):
    """`manage.py ensure_admin`, reading ADMIN_USERNAME and ADMIN_PASSWORD."""

    help = "Make the superuser ADMIN_USERNAME (admin) with ADMIN_PASSWORD, unless it is there."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the account once; an account that is there keeps its password."""
        username = os.environ.get("ADMIN_USERNAME") or "admin"
        if User.objects.filter(username=username).exists():
            self.stdout.write(f"{username} is there")
            return
        password = os.environ.get("ADMIN_PASSWORD")
        if not password:
            raise CommandError("ADMIN_PASSWORD is not set")
        if not settings.EMBEDDED:
            self._refuse_weak(password)
        try:
            User.objects.create_superuser(username=username, password=password)
        except IntegrityError:  # another process was first; the account keeps its password
            self.stdout.write(f"{username} is there")
        else:
            self.stdout.write(f"{username} made")

    @staticmethod
    def _refuse_weak(password: str) -> None:
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError(f"ADMIN_PASSWORD: {' '.join(error.messages)}") from error
