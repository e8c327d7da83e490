"""Print a statement."""

import csv
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.statements.services import rows_of, statement
from config.contract import clock
from config.contract.errors import NotFound


class Command(BaseCommand):
    """`manage.py statement ORG PERIOD [--csv]`"""

    help = "Print the statement of an organisation's period, as JSON or CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("org_id")
        parser.add_argument("period_key")
        parser.add_argument("--csv", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        try:
            found = statement(
                org_id=options["org_id"], period_key=options["period_key"], now=clock.now()
            )
        except NotFound:
            raise CommandError("No such organisation or period") from None
        if options["csv"]:
            csv.writer(self.stdout).writerows(rows_of(found))
        else:
            self.stdout.write(json.dumps(found, indent=2))
