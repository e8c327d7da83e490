"""Shutting an organisation out, and letting it back in, from the command line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract import clock
from config.contract.errors import NotFound
from tokens import suspension


class Command(BaseCommand):
    """`manage.py suspend_org ORG --reason TEXT [--restore]`"""

    help = "Refuse every token of an organisation from its next request on, or take that back."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("org_id")
        parser.add_argument("--reason", required=True, help="kept in the audit trail")
        parser.add_argument("--restore", action="store_true", help="let it back in")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and say so."""
        change = suspension.restore if options["restore"] else suspension.suspend
        try:
            change(
                org_id=options["org_id"],
                reason=options["reason"],
                who="command",
                now=clock.real_now(),
            )
        except NotFound as error:
            raise CommandError("No such organisation") from error
        self.stdout.write("restored" if options["restore"] else "suspended")
