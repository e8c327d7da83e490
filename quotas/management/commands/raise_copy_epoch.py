"""After PostgreSQL was restored from a backup: make every older copy in Valkey lose."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import F

from config.contract.models import Installation
from quotas.snapshots import installation_epoch


class Command(BaseCommand):
    """`manage.py raise_copy_epoch`"""

    help = (
        "Raise the epoch of the fast copy. A restored database is behind what Valkey may hold;"
        " with a higher epoch its numbers win at once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raise it by one; running it twice does no harm."""
        Installation.objects.filter(pk=Installation.ONLY).update(copy_epoch=F("copy_epoch") + 1)
        self.stdout.write(f"epoch {installation_epoch()}")
