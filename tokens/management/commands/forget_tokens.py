"""The clean-up of tokens, by hand."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.contract import clock
from tokens.cleanup import KEPT, forget, forgettable


class Command(BaseCommand):
    """`manage.py forget_tokens [--dry-run]`"""

    help = (
        f"Delete codes, refresh tokens, families and portal links that ended {KEPT.days} days ago"
        " or earlier, and log-ins of staff older than STAFF_LOG_IN_DAYS."
        " Beat does it every hour; the audit trail is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--dry-run", action="store_true", help="only say how many")

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete, or count, and print the totals."""
        clean = forgettable if options["dry_run"] else forget
        gone = clean(now=clock.real_now())
        self.stdout.write(
            f"{'would delete' if options['dry_run'] else 'deleted'} {gone.codes} codes,"
            f" {gone.refresh_tokens} refresh tokens, {gone.families} families,"
            f" {gone.portal_links} portal links"
            + (f", {gone.staff_log_ins} log-ins of staff" if gone.staff_log_ins else "")
        )
