"""Compute the use of days anew from the ledger."""

from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from config.contract import clock
from usage.rollup import days_between, days_due, days_since_the_first, roll_days


class Command(BaseCommand):
    """`manage.py rollup_days [--from DAY] [--to DAY] [--all]`"""

    help = "Compute the use of days (UTC) anew from the ledger; without options, those due."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--from", dest="first", type=_day, help="first day, as 2026-11-01")
        parser.add_argument("--to", dest="last", type=_day, help="last day; default: today")
        parser.add_argument("--all", action="store_true", help="every day there is")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compute them and print the totals."""
        now = clock.now()
        days = sorted(_days(options, now=now))
        events = changed = skipped = 0
        shown = Console(stderr=True)
        with Progress(console=shown, disable=not shown.is_terminal) as progress:
            task = progress.add_task("days", total=len(days))
            for rolled in roll_days(days, now=now):
                events += rolled.events
                changed += rolled.changed
                skipped += rolled.skipped
                progress.advance(task)
        self.stdout.write(
            f"{len(days)} days, {events} events: {changed} rows were not so,"
            f" {skipped} days left to another run"
        )


def _days(options: dict[str, Any], *, now: datetime) -> set[date]:
    first, last = options["first"], options["last"] or now.date()
    if options["all"]:
        return days_since_the_first(now=now)
    if first is None and options["last"] is None:
        return days_due(now=now)
    if first is None or first > last:
        raise CommandError("--to needs a --from that is not after it")
    return days_between(first, last)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no day: expected 2026-11-01") from None
