"""Print a statement."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.statements.page import html
from billing.statements.services import statement, table_of
from config.contract import clock
from config.contract.errors import NotFound


class Command(BaseCommand):
    """`manage.py statement ORG PERIOD [--csv | --html]`"""

    help = "Print the statement of an organisation's period, as JSON, CSV or a page to print."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("org_id")
        parser.add_argument("period_key")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true")
        form.add_argument("--html", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        try:
            now = clock.now()
            found = statement(org_id=options["org_id"], period_key=options["period_key"], now=now)
        except NotFound:
            raise CommandError("No such organisation or period") from None
        if options["csv"]:
            self.stdout.write(table_of(found), ending="")
        elif options["html"]:
            self.stdout.write(html(found, org_id=options["org_id"], now=now))
        else:
            self.stdout.write(json.dumps(found, indent=2))
