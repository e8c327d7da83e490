"""Open, derive and close quota periods ahead of the first touch."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from config.contract import clock
from config.contract.bodies import instant
from quotas.rollover import RolledOver, roll_over


class Command(BaseCommand):
    """`manage.py rollover_periods [--dry-run] [--org ORG …] [--at INSTANT]`"""

    help = "Open new quota periods, apply what is due, close old ones. Safe to run at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")
        parser.add_argument("--org", action="append", default=[], help="only this organisation")
        parser.add_argument("--at", help="as of this instant (RFC 3339); default: now")

    def handle(self, *args: Any, **options: Any) -> None:
        """Roll over and print the totals; exit 1 when an organisation failed."""
        now = instant(options["at"], field="at") if options["at"] else clock.now()
        if now > clock.now() and not options["dry_run"]:
            raise CommandError("--at lies ahead: what is to come can only be shown (--dry-run)")
        done = RolledOver()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        shown = Console(stderr=True)
        with Progress(*columns, console=shown, disable=not shown.is_terminal) as progress:
            task = progress.add_task("opening", total=None)
            steps = roll_over(now=now, org_ids=options["org"], dry_run=options["dry_run"])
            for done in steps:
                progress.update(
                    task,
                    description=f"{done.opened} opened, {done.derived} derived,"
                    f" {done.closed} closed, {done.failed} failed",
                )
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(
            f"{done.opened} counters {would}opened, {done.derived} organisations {would}derived,"
            f" {done.closed} periods {would}closed, {done.failed} failed"
        )
        if done.failed:
            for org_id in done.named:
                self.stderr.write(org_id)
            raise SystemExit(1)
