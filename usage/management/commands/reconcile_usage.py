"""Prove that the counters say what their rows say."""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from config.contract import clock
from usage.checks import remember
from usage.reconcile import Reconciled, reconcile


class Command(BaseCommand):
    """`manage.py reconcile_usage [--org ORG …] [--repair] [--json]`"""

    help = "Recompute every counter from its rows and compare; exit 1 where one differs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--org", action="append", default=[], help="only this organisation")
        parser.add_argument(
            "--repair", action="store_true", help="set back what the rows prove, with an audit row"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare, print the report, exit 1 on drift."""
        started = time.monotonic()
        now = clock.now()
        done = Reconciled()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        shown = Console(stderr=True)
        with Progress(*columns, console=shown, disable=not shown.is_terminal) as progress:
            task = progress.add_task("reading", total=None)
            for done in reconcile(
                now=now,
                org_ids=options["org"],
                repair_as="reconcile_usage" if options["repair"] else None,
            ):
                progress.update(
                    task, description=f"{done.counters} counters, {done.drifted} drifted"
                )
        remember(done, everything=not options["org"], now=now)
        seconds = time.monotonic() - started
        if options["json"]:
            self.stdout.write(json.dumps({**done.as_json(), "seconds": round(seconds, 3)}))
        else:
            self._print(done, seconds)
        if done.drifted:
            raise SystemExit(1)

    def _print(self, done: Reconciled, seconds: float) -> None:
        for drift in done.drifts:
            self.stdout.write(str(drift))
        if done.drifted > len(done.drifts):
            self.stdout.write(f"and {done.drifted - len(done.drifts)} more")
        rate = round(done.events / seconds) if seconds else 0
        self.stdout.write(
            f"{done.counters} counters of {done.organisations} organisations,"
            f" {done.equal} equal, {done.events} events: {done.drifted} differences,"
            f" {done.repaired} repaired, {seconds:.1f} s ({rate} events/s)"
        )
