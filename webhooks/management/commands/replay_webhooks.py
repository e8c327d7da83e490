"""`manage.py replay_webhooks`: process events again, or see what that would change."""

from datetime import datetime
from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract.bodies import instant
from config.contract.errors import ApiError
from webhooks.models import WebhookEvent
from webhooks.replay import dry_run, replay, select

_PAGE = 500


class Command(BaseCommand):
    """Queue events again, chosen by id, state, type, organisation or time."""

    help = "Process webhook events again; --dry-run shows what that would change and exits 1"

    def add_arguments(self, parser: CommandParser) -> None:
        """Say which events."""
        parser.add_argument("event_ids", nargs="*", help="ids, such as evt_1T…")
        parser.add_argument(
            "--state", action="append", choices=WebhookEvent.State.values, default=[]
        )
        parser.add_argument("--type", default="", help="e.g. invoice.paid")
        parser.add_argument("--org", default="")
        parser.add_argument("--since", help="received at or after, e.g. 2026-11-01T00:00:00Z")
        parser.add_argument("--until", help="received before")
        parser.add_argument("--all", action="store_true", help="every event there is")
        parser.add_argument("--dry-run", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Queue them, or show the fields before and after per organisation."""
        chosen = [options[name] for name in ("event_ids", "state", "type", "org", "since", "until")]
        if any(chosen) == options["all"]:
            raise CommandError("Say which events, or --all")
        events = select(
            event_ids=options["event_ids"],
            states=options["state"],
            type_=options["type"],
            org_id=options["org"],
            since=_instant(options["since"], "--since"),
            until=_instant(options["until"], "--until"),
        )
        if options["dry_run"]:
            self._show(events)
        else:
            self._replay(events, asked=options["event_ids"])

    def _replay(self, events: Any, *, asked: list[str]) -> None:
        ids = list(events.values_list("event_id", flat=True))
        unknown = [one for one in asked if one not in set(ids)]
        enqueued = waiting = 0
        for start in range(0, len(ids), _PAGE):
            done = replay(ids[start : start + _PAGE], by="manage.py replay_webhooks")
            enqueued += done.enqueued
            waiting += len(done.already_queued)
        for one in unknown:
            self.stdout.write(f"unknown: {one}")
        self.stdout.write(f"{enqueued} queued, {waiting} were waiting, {len(unknown)} unknown")
        if unknown:
            raise SystemExit(1)

    def _show(self, events: Any) -> None:
        try:
            found = sorted(dry_run(events), key=lambda one: (one.org_id, one.table, one.key))
        except ApiError as error:
            raise CommandError(f"Stripe could not be asked: {type(error).__name__}") from None
        for org_id, differences in groupby(found, key=lambda one: one.org_id):
            self.stdout.write(org_id or "(no organisation)")
            # Events of one organisation may tell of the same change.
            for line in dict.fromkeys(str(one) for one in differences):
                self.stdout.write(f"  {line}")
        self.stdout.write(f"{events.count()} events, {len(set(map(str, found)))} differences")
        if found:
            raise SystemExit(1)


def _instant(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        return instant(text, field=name)
    except ApiError:
        raise CommandError(f"{name} needs an instant such as 2026-11-01T00:00:00Z") from None
