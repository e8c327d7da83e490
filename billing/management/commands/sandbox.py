"""`manage.py sandbox …`: drive the built-in Stripe sandbox by hand.

Only where STRIPE_MODE is `sandbox`. `advance` moves the sandbox's clock and the
installation's by the same amount, so that both sides live in the same month.
"""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.contract import clock
from config.contract.bodies import fields_of, instant
from config.contract.errors import ValidationFailed

_TIMEOUT = 120


class Command(BaseCommand):
    """Advance time, order faults, look inside."""

    help = "Drive the Stripe sandbox: time, faults, objects, events"

    def add_arguments(self, parser: CommandParser) -> None:
        """One sub-command each."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("status", help="time, what is due, deliveries, faults on order")
        advance = verbs.add_parser("advance", help="move time forward, both here and there")
        advance.add_argument("--days", type=float, default=0)
        advance.add_argument("--months", type=int, default=0)
        advance.add_argument("--to", help="an instant, e.g. 2026-12-24T12:00:00Z")
        fail = verbs.add_parser("fail-next-payment", help="decline the next card payment(s)")
        fail.add_argument("--count", type=int, default=1)
        show = verbs.add_parser("show", help="print an object")
        show.add_argument("id")
        replay = verbs.add_parser("replay", help="deliver an event again")
        replay.add_argument("event_id")
        events = verbs.add_parser("events", help="list events, oldest first")
        events.add_argument("--object", help="only those of this object")
        events.add_argument("--limit", type=int, default=30)
        faults = verbs.add_parser("faults", help="list, order or clear faults")
        faults.add_argument("kind", nargs="?", help="what to order, or `clear`")
        faults.add_argument("--count", type=int, default=1)
        faults.add_argument("--path", default="*", help="e.g. /v1/subscriptions*")
        faults.add_argument("--seconds", type=float, default=0)
        keep = verbs.add_parser("set", help="change a setting")
        keep.add_argument("name", choices=["auto_card", "dunning_outcome", "webhook_url"])
        keep.add_argument("value")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do one thing and print what came of it."""
        if settings.STRIPE_MODE != "sandbox" or not settings.STRIPE_BASE_URL:
            raise CommandError("This is for STRIPE_MODE=sandbox only")
        verb = options["verb"].replace("-", "_")
        getattr(self, f"_{verb}")(options)

    def _status(self, _options: dict[str, Any]) -> None:
        state = _ask("GET", "state")
        self.stdout.write(f"time      {_words(state['now'])} ({state['offset']} s ahead)")
        due = state["nextDue"]
        self.stdout.write(
            f"next due  {due['id']} at {_words(due['due_at'])}" if due else "next due  nothing"
        )
        for title in ("objects", "outbox", "settings"):
            shown = ", ".join(f"{name} {count}" for name, count in state[title].items())
            self.stdout.write(f"{title:<9} {shown or 'none'}")
        self._print_faults(state["faults"])

    def _advance(self, options: dict[str, Any]) -> None:
        now = datetime.fromtimestamp(_ask("GET", "state")["now"], UTC)
        if options["to"]:
            try:
                target = instant(options["to"], field="--to")
            except ValidationFailed as refusal:
                [(said,)] = fields_of(refusal).values()
                raise CommandError(f"--to: {said}") from None
        else:
            target = now + relativedelta(months=options["months"])
            target += timedelta(days=options["days"])
        if target <= now:
            raise CommandError("Time moves forward: give --days, --months or a later --to")
        moved = _ask("POST", "advance", {"to": int(target.timestamp())})
        clock.set_offset(moved["offset"])
        self.stdout.write(f"It is {_words(moved['now'])}; {moved['handled']} things fell due")

    def _fail_next_payment(self, options: dict[str, Any]) -> None:
        _ask("POST", "faults", {"kind": "card_declined", "count": options["count"]})
        self.stdout.write(f"The next {options['count']} payment(s) will be declined")

    def _show(self, options: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(_ask("GET", f"objects/{options['id']}"), indent=2))

    def _replay(self, options: dict[str, Any]) -> None:
        _ask("POST", f"events/{options['event_id']}/replay", {})
        self.stdout.write("It will be delivered again")

    def _events(self, options: dict[str, Any]) -> None:
        query = f"?limit={options['limit']}"
        if options["object"]:
            query += f"&object={options['object']}"
        for event in _ask("GET", f"events{query}"):
            about = event["data"]["object"].get("id", "")
            self.stdout.write(
                f"{_words(event['created'])}  {event['id']}  {event['type']:<40} {about}"
            )

    def _faults(self, options: dict[str, Any]) -> None:
        if options["kind"] == "clear":
            waiting = _ask("DELETE", "faults")
        elif options["kind"]:
            order = {name: options[name] for name in ("kind", "count", "path", "seconds")}
            waiting = _ask("POST", "faults", order)
        else:
            waiting = _ask("GET", "faults")
        self._print_faults(waiting["faults"])

    def _set(self, options: dict[str, Any]) -> None:
        value = options["value"]
        if options["name"] == "auto_card":
            value = value.lower() in {"1", "true", "on", "yes"}
        _ask("POST", "settings", {options["name"]: value})
        self.stdout.write(f"{options['name']} is {value}")

    def _print_faults(self, faults: list[dict[str, Any]]) -> None:
        for fault in faults:
            self.stdout.write(
                f"fault     {fault['kind']} × {fault['remaining']} on {fault['path']}"
                + (f", {fault['seconds']} s" if fault["seconds"] else "")
            )
        if not faults:
            self.stdout.write("fault     none on order")


def _words(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 (our own address, from the settings)
        f"{settings.STRIPE_BASE_URL}/_sandbox/{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Bearer {settings.STRIPE_API_KEY}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            raise CommandError(_message(refused.read())) from None
    except OSError:
        raise CommandError("The sandbox does not answer: is ./dev run up?") from None


def _message(body: bytes) -> str:
    try:
        found: str = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return "What answers at STRIPE_BASE_URL is not our sandbox"
    return found
