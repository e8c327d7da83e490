"""`manage.py reconcile_stripe`: do Stripe, the mirror and the entitlements agree?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.models import Organization
from config.contract.errors import ApiError
from webhooks.reconciliation import loose_ends, reconcile


class Command(BaseCommand):
    """Compare, say what differs, and mend what is safe if asked to."""

    help = "Compare with Stripe; exits 0 where all agrees (or was repaired), 1 where not"

    def add_arguments(self, parser: CommandParser) -> None:
        """Say whom, and whether to mend."""
        parser.add_argument("--org", help="only this organisation")
        parser.add_argument(
            "--apply", action="store_true", help="repair what a fetch repairs; list the rest"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Compare one organisation, or all of them and what belongs to none."""
        organizations = Organization.objects.order_by("pk")
        if options["org"]:
            organizations = organizations.filter(org_id=options["org"])
            if not organizations.exists():
                raise CommandError("There is no such organisation")
        compared = unasked = 0
        findings = []
        # Ids first: the connection is given back while Stripe is asked.
        for pk in list(organizations.values_list("pk", flat=True)):
            organization = Organization.objects.get(pk=pk)
            try:
                found = reconcile(organization, repair=options["apply"])
            except ApiError as error:
                unasked += 1
                self.stdout.write(f"{organization.org_id} could not be compared: {error.code}")
                continue
            compared += 1
            findings += found
            for one in found:
                self.stdout.write(str(one))
        if not options["org"]:
            for one in loose_ends():
                findings.append(one)
                self.stdout.write(str(one))
        left = sum(not one.repaired for one in findings)
        repaired = len(findings) - left
        self.stdout.write(f"{compared} compared, {repaired} repaired, {left} left to look at")
        if left or unasked:
            raise SystemExit(1)
