"""Load the plan catalogue."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import catalogue


class Command(BaseCommand):
    """`manage.py sync_plans [FILE] [--dry-run]`"""

    help = "Make the plan tables say what billing/plans.json (or FILE) says. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("file", nargs="?", type=Path, default=catalogue.FILE)
        parser.add_argument("--dry-run", action="store_true", help="show, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync and tell what changed."""
        try:
            plans = catalogue.read_file(options["file"])
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        changes = catalogue.sync(plans, dry_run=options["dry_run"])
        for change in changes:
            self.stdout.write(change)
        done = "would change" if options["dry_run"] else "changed"
        self.stdout.write(f"{len(changes)} {done}")
