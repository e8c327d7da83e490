"""Why is an organisation's entitlement what it is? What happened to it, in sentences."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.models import Organization
from config.backoffice.organisation.timeline import Happening, timeline


class Command(BaseCommand):
    """`manage.py history --org ORG`"""

    help = (
        "Tell what happened to an organisation, newest first: what changed, from what to what,"
        " by whom, because of which event or act, and under which request."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--org", required=True, help="organisation id")

    def handle(self, *args: Any, **options: Any) -> None:
        """Tell it."""
        org_id = options["org"]
        happenings = timeline(org_id)
        if not happenings and not Organization.objects.filter(org_id=org_id).exists():
            raise CommandError(f"There is no organisation {org_id}")
        for one in happenings:
            self._tell(one)

    def _tell(self, one: Happening) -> None:
        self.stdout.write(f"{one.at:%Y-%m-%d %H:%M:%S}Z  {one.sentence}")
        told = {"by": one.who, "because of": one.why, "request": one.request_id}
        owed = ", ".join(f"{word} {value}" for word, value in told.items() if value)
        if owed:
            self.stdout.write(f"{'':<22}{owed}")
        for change in one.changes:
            self.stdout.write(f"{'':<24}{change.what}: {change.before} -> {change.after}")
