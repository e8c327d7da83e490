"""Look whether Stripe is set up as we need it."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from billing import doctor
from billing.doctor import Finding


class Command(BaseCommand):
    """`manage.py stripe_doctor [--json]`"""

    help = "Check key, webhook endpoint, prices and portal at Stripe. Exits 1 on any fault."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine and tell."""
        findings = doctor.examine()
        faults = sum(not one.ok for one in findings)
        if options["json"]:
            told = [{"what": one.what, "ok": one.ok, "detail": one.detail} for one in findings]
            self.stdout.write(json.dumps({"ok": not faults, "findings": told}, indent=2))
        elif self.stdout.isatty():
            self._table(findings)
        else:
            for one in findings:
                self.stdout.write(f"{'ok   ' if one.ok else 'FAULT'} {one.what}: {one.detail}")
        if not options["json"]:
            self.stdout.write(f"{faults} faults" if faults else "No faults")
        if faults:
            sys.exit(1)

    def _table(self, findings: list[Finding]) -> None:
        table = Table("", "What", "Found")
        for one in findings:
            verdict = "[green]ok[/]" if one.ok else "[bold red]FAULT[/]"
            table.add_row(verdict, escape(one.what), escape(one.detail))
        Console().print(table)
