"""Load the plan catalogue."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing import catalogue


class Command(BaseCommand):
    """`manage.py sync_plans [--dry-run]`"""

    help = "Make the plan tables say what billing/plans.json says. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="show, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync and tell what changed."""
        changes = catalogue.sync(catalogue.read_file(), dry_run=options["dry_run"])
        for change in changes:
            self.stdout.write(change)
        done = "would change" if options["dry_run"] else "changed"
        self.stdout.write(f"{len(changes)} {done}")
