"""`manage.py blank_inbox`: blank what opens a door in the inbox's older rows."""

from typing import Any

from django.core.management.base import BaseCommand

from webhooks.retention import blank_payloads


class Command(BaseCommand):
    """Blank stored bodies, as the owner's role."""

    help = (
        "Blank secrets and addresses of pages in stored events, as new ones are before they are"
        " stored. Run it as the owner of the tables; running it again does no harm."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Blank them all and say how many there were."""
        self.stdout.write(f"{blank_payloads()} events blanked")
