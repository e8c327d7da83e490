"""Charge what was used past the plans."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.overage import due, services
from config.contract import clock


class Command(BaseCommand):
    """`manage.py charge_overage [--dry-run]`"""

    help = "Charge the overage of closed periods now, as the worker does. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="show, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Charge and tell what was done."""
        now = clock.now()
        if options["dry_run"]:
            for one in due.unwritten(now=now):
                over = one.used - one.limit
                self.stdout.write(f"{one.org_id} {one.metric} {one.period_key}: {over} units")
            return
        done = services.charge_due(now=now)
        self.stdout.write(
            f"{done.found} found, {done.charged} charged, {done.waiting} waiting,"
            f" {done.failed} failed"
        )
