"""Ending what an organisation's installations hold, from the command line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract import clock
from tokens import access, families


class Command(BaseCommand):
    """`manage.py revoke_tokens ORG [--family ID]`"""

    help = "End all installations of an organisation and its unused codes, or one installation."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("org_id")
        parser.add_argument("--family", help="end this one only")

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke and print how many."""
        org_id, now = options["org_id"], clock.real_now()
        if not access.exists(org_id):
            raise CommandError("No such organisation")
        if options["family"] is None:
            ended = families.revoke_all(org_id=org_id, who="command", now=now)
            self.stdout.write(f"revoked {ended} installations and unused codes")
            return
        if not families.revoke_family(
            org_id=org_id, family_id=options["family"], who="command", now=now
        ):
            raise CommandError("The organisation has no such installation")
        self.stdout.write("revoked")
