"""Fill an embedded installation with made-up customers."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.backoffice.seeding import seed
from config.contract import clock


class Command(BaseCommand):
    """`manage.py seed_demo [--organisations N] [--events N]`"""

    help = "Add made-up customers with 45 days of use. For measuring and trying out; embedded only."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--organisations", type=int, default=200)
        parser.add_argument("--events", type=int, default=20_000)

    def handle(self, *args: Any, **options: Any) -> None:
        """Add them, say how long it took."""
        if not settings.EMBEDDED:
            raise CommandError("Made-up customers have no place outside an embedded run.")
        organisations, events = options["organisations"], options["events"]
        if organisations < 1 or events < 0:
            raise CommandError("Expected at least one organisation, and no events below zero.")
        started = time.monotonic()
        seed(organisations=organisations, events=events, now=clock.now())
        taken = time.monotonic() - started
        self.stdout.write(f"{organisations:,} organisations, {events:,} events in {taken:.1f} s")
