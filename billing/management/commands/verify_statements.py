"""Look for history that was edited after it was sealed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.models import Organization
from billing.statements.services import seal_closed, verify
from config.contract import clock


class Command(BaseCommand):
    """`manage.py verify_statements [--org ORG …] [--seal]`"""

    help = "Compare every sealed statement with its rows of today; exit 1 where one differs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--org", action="append", default=[], help="only this organisation")
        parser.add_argument("--seal", action="store_true", help="seal what is closed first")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify and print what is broken."""
        rows = Organization.objects.order_by("pk")
        if options["org"]:
            rows = rows.filter(org_id__in=options["org"])
        checked = broken = 0
        for org_id in rows.values_list("org_id", flat=True).iterator():
            if options["seal"]:
                seal_closed(org_id=org_id, now=clock.now())
            checked += 1
            for fault in verify(org_id=org_id):
                broken += 1
                self.stdout.write(f"{fault.org_id} {fault.period_key}: {fault.what} changed")
        self.stdout.write(f"{checked} organisations, {broken} broken")
        if broken:
            raise SystemExit(1)
