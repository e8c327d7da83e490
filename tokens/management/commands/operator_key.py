"""Credentials of the company's own backend."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract import clock
from config.contract.errors import ApiError
from tokens import operators, scopes
from tokens.models import OperatorKey

_WHO = "command"


class Command(BaseCommand):
    """`manage.py operator_key create|rotate|drop-previous|revoke|list`"""

    help = "Make, rotate, revoke and list operator credentials. A secret is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare one sub-command per act."""
        acts = parser.add_subparsers(dest="act", required=True)
        create = acts.add_parser("create", help="make a credential")
        create.add_argument("name")
        create.add_argument(
            "--scope",
            action="append",
            choices=sorted(scopes.OPERATOR),
            help="repeat for several; default: usage:write and entitlements:read",
        )
        for act, text in (
            ("rotate", "make a second secret"),
            ("drop-previous", "end the secret from before the last rotation"),
            ("revoke", "end a credential and its tokens"),
        ):
            acts.add_parser(act, help=text).add_argument("key_id")
        acts.add_parser("list", help="show all credentials, without secrets")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the act."""
        now = clock.real_now()
        try:
            match options["act"]:
                case "create":
                    wanted = options["scope"] or list(scopes.INSTALLATION)
                    made = operators.create(name=options["name"], wanted=wanted, who=_WHO, now=now)
                    self.stdout.write(f"{made.key_id} {made.secret}")
                case "rotate":
                    made = operators.rotate(key_id=options["key_id"], who=_WHO, now=now)
                    self.stdout.write(f"{made.key_id} {made.secret}")
                case "drop-previous":
                    operators.drop_previous(key_id=options["key_id"], who=_WHO, now=now)
                case "revoke":
                    operators.revoke(key_id=options["key_id"], who=_WHO, now=now)
                case _:
                    self._list()
        except ApiError as error:
            raise CommandError(error.message) from error

    def _list(self) -> None:
        for key in OperatorKey.objects.order_by("created_at"):
            state = "revoked" if key.revoked_at else "live"
            used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
            self.stdout.write(
                f"{key.key_id} {key.name} {state} {','.join(key.scopes)} last used {used}"
            )
