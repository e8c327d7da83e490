"""Load the plan catalogue."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import catalogue, publishing
from config.contract.errors import ApiError


class Command(BaseCommand):
    """`manage.py sync_plans [FILE] [--stripe] [--dry-run]`"""

    help = "Make the plan tables say what billing/plans.json (or FILE) says. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("file", nargs="?", type=Path, default=catalogue.FILE)
        parser.add_argument(
            "--stripe",
            action="store_true",
            help="also make the products, prices and meters that Stripe lacks",
        )
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
        if options["stripe"]:
            self._publish(dry_run=options["dry_run"])

    def _publish(self, *, dry_run: bool) -> None:
        made = []
        try:
            for thing in publishing.publish(dry_run=dry_run):
                self.stdout.write(f"Stripe: {thing}")
                made.append(thing)
        except ApiError as error:
            raise CommandError(f"Stripe: {error.message}. Run it again: it goes on.") from error
        self.stdout.write(f"Stripe: {len(made)} {'to make' if dry_run else 'made'}")
