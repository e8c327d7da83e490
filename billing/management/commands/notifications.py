"""List what organisations were told, and tell it again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.notifications.deliveries import resend
from billing.notifications.models import Delivery
from config.contract import clock
from config.contract.errors import NotFound


class Command(BaseCommand):
    """`manage.py notifications list [--org ORG] [--state STATE]` and `… resend DELIVERY …`"""

    help = "List deliveries of notifications, newest first, or send some again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        act = parser.add_subparsers(dest="act", required=True)
        listing = act.add_parser("list", help="one line for each delivery")
        listing.add_argument("--org", help="of one organisation")
        listing.add_argument("--state", choices=Delivery.State.values)
        listing.add_argument("--limit", type=int, default=50)
        again = act.add_parser("resend", help="send again, under the same webhook id")
        again.add_argument("deliveries", nargs="+", type=int, metavar="DELIVERY")

    def handle(self, *args: Any, **options: Any) -> None:
        """List, or resend."""
        if options["act"] == "list":
            self._list(options)
            return
        for pk in options["deliveries"]:
            try:
                resend(pk, now=clock.real_now())
            except NotFound:
                raise CommandError(f"No delivery {pk}") from None
            self.stdout.write(f"{pk} will be sent again")

    def _list(self, options: dict[str, Any]) -> None:
        found = Delivery.objects.select_related("notification").order_by("-pk")
        if options["org"]:
            found = found.filter(notification__org_id=options["org"])
        if options["state"]:
            found = found.filter(state=options["state"])
        for one in found[: options["limit"]]:
            told = one.notification
            self.stdout.write(
                f"{one.pk}  {told.happened_at:%Y-%m-%dT%H:%M:%SZ}  {told.org_id}  {told.kind}"
                f"  {one.channel}  {one.state}  attempts={one.attempts}"
                f"  {one.error or one.answer or '-'}  {told.message_id}"
            )
