"""Letting somebody back in who lost their authenticator app."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backoffice.acts import record
from config.backoffice.second_factor import devices


class Command(BaseCommand):
    """`manage.py remove_second_factor USERNAME --reason TEXT`"""

    help = "Take a member of staff's second factor away: the password alone lets them in again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="kept in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and say so."""
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError("No such account")
        if not settings.STAFF_MFA or not devices.remove(user):
            raise CommandError("The account has no second factor")
        record.of_account(None, user, "second-factor-off", options["reason"])
        self.stdout.write("removed")
