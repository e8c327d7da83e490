"""An activation code from the command line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract import clock
from config.contract.errors import ApiError
from tokens import scopes
from tokens.codes import create_code


class Command(BaseCommand):
    """`manage.py issue_code ORG [--domain D] [--scope S …]`"""

    help = "Issue a one-time activation code for an organisation; it is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("org_id")
        parser.add_argument("--domain", help="the tokens will work only from there")
        parser.add_argument("--scope", action="append", choices=sorted(scopes.ORGANISATION))

    def handle(self, *args: Any, **options: Any) -> None:
        """Issue and print it."""
        try:
            made = create_code(
                org_id=options["org_id"],
                issued_by="command",
                now=clock.real_now(),
                domain=options["domain"],
                wanted=options["scope"],
            )
        except ApiError as error:
            fields = (error.details or {}).get("fields", {})
            raise CommandError(
                f"{error.message} {'; '.join(t for ts in fields.values() for t in ts)}".strip()
            ) from error
        self.stdout.write(f"{made.code} until {made.expires_at:%Y-%m-%d %H:%M} UTC")
