"""Why was this denied, or allowed?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract import clock
from config.contract.bodies import instant
from config.contract.errors import ApiError
from usage.explaining import words
from usage.explaining.bodies import as_json
from usage.explaining.service import explain
from usage.explaining.shape import Explanation


class Command(BaseCommand):
    """`manage.py explain (--org ORG --metric METRIC [--at INSTANT] | --request-id ID) [--json]`"""

    help = (
        "Explain what was decided about a request (by its request id, its correlation id, or"
        " the request_id of the use it reported), or what holds for an organisation at an instant."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--org", help="organisation id; with an id it narrows the search")
        parser.add_argument("--metric", help="such as api_call")
        parser.add_argument("--at", help="RFC 3339 with an offset; default: now")
        parser.add_argument(
            "--request-id", "--correlation-id", dest="quoted", help="what the customer quotes"
        )
        parser.add_argument("--json", action="store_true", help="what the API answers")

    def handle(self, *args: Any, **options: Any) -> None:
        """Explain it."""
        try:
            found = explain(
                now=clock.now(),
                org_id=options["org"],
                metric=options["metric"],
                at=instant(options["at"], field="--at") if options["at"] else None,
                quoted=options["quoted"],
            )
        except ApiError as error:
            raise CommandError(_said(error)) from error
        if options["json"]:
            self.stdout.write(as_json(found).decode())
            return
        self._show(found)

    def _show(self, found: Explanation) -> None:
        for sentence in words.sentences(found):
            self.stdout.write(sentence)
        self.stdout.write("")
        for name, value in words.table(found):
            self.stdout.write(f"  {name:<22}{value}")
        self.stdout.write("")
        for one in found.timeline:
            mark = ">" if one.mark else " "
            detail = f" ({one.detail})" if one.detail else ""
            self.stdout.write(f"{mark} {words.instant(one.at):<26}{one.text}{detail}")


def _said(error: ApiError) -> str:
    fields = (error.details or {}).get("fields", {})
    named = "; ".join(f"{name}: {text}" for name, texts in fields.items() for text in texts)
    return named or error.message
