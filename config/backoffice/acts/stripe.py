"""Acts on what Stripe said: processing events again, and asking it how things stand."""

from collections import Counter
from datetime import datetime
from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.models import Organization
from config.backoffice.acts.base import (
    ORG_PAGES,
    Asked,
    By,
    Change,
    Done,
    Effect,
    Facts,
    OrgAct,
    of_its_org,
)
from config.backoffice.acts.forms import ActForm, InstantField, choice, text
from config.contract import clock
from config.contract.errors import ApiError, ValidationFailed
from webhooks.models import WebhookEvent
from webhooks.reconciliation import SAFE, UNSAFE, Finding, reconcile
from webhooks.replay import dry_run, replay, select

#: As many as one call of the API takes.
MOST = 500
#: Stripe is asked about so many on the page; the command asks about all.
_TRIED = 10


class ReplayForm(ActForm):
    """Which events: named, or all that fit what is filled in."""

    event_ids = forms.CharField(
        label="Events",
        required=False,
        max_length=MOST * 256,
        help_text="Ids such as evt_1T…, one a line; or leave it empty and choose below.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    state = choice("State", [("", "Any"), *WebhookEvent.State.choices], required=False)
    type = text("Type", most=100, required=False, help_text="Such as invoice.paid")
    org_id = text("Organisation", most=30, required=False)
    since = InstantField(required=False, help_text="Received at or after, UTC.")
    until = InstantField(required=False, help_text="Received before, UTC. Empty: until now.")

    def clean_event_ids(self) -> list[str]:
        """Return the ids, each once."""
        return list(dict.fromkeys(self.cleaned_data["event_ids"].replace(",", " ").split()))

    def clean(self) -> dict[str, Any]:
        """Everything there is, by mistake, is nobody's wish."""
        asked = super().clean() or {}
        chosen = ("event_ids", "state", "type", "org_id", "since", "until")
        if not self.errors and not any(asked.get(name) for name in chosen):
            raise forms.ValidationError("Say which events")
        return asked

    def frozen(self) -> dict[str, Any]:
        """What comes in while somebody reads is not part of what was shown."""
        found = super().frozen()
        if not found["until"] and not found["event_ids"]:
            found["until"] = f"{clock.now():%Y-%m-%dT%H:%M:%S.%f}"
        return found


class ReplayWebhooks(OrgAct):
    """POST /api/admin/webhooks/replay, and manage.py replay_webhooks."""

    name = "replay-webhooks"
    title = "Replay webhooks"
    about = (
        "Queues events of Stripe to be processed again, handled and parked ones alike. Each one"
        " asks Stripe how things stand now, so that repeating it is harmless."
    )
    group = "Stripe and notifications"
    icon = "replay"
    permission = "webhooks.replay_webhookevent"
    form = ReplayForm
    rows = {
        **ORG_PAGES,
        "webhooks.WebhookEvent": lambda row: {"event_ids": row.event_id},
    }

    def fits(self, row: Any) -> dict[str, str] | None:
        """Return what the form begins with."""
        begin = self.rows.get(row._meta.label)
        return begin(row) if begin else None

    def effect(self, asked: Asked) -> Effect:
        """Return which events, and what trying them would change."""
        events = _chosen(asked)
        found = list(events.values_list("event_id", "state", "type")[: MOST + 1])
        if len(found) > MOST:
            raise ValidationFailed({"": [f"More than {MOST} events fit. Narrow them down."]})
        by_kind = Counter((type_, state) for _, state, type_ in found)
        changes = [
            Change(f"{number} × {type_}", state, "queued")
            for (type_, state), number in sorted(by_kind.items())
            if state != WebhookEvent.State.PENDING
        ]
        notes = _waiting(by_kind) + _unknown(asked, [one for one, _, _ in found])
        changes += _tried([one for one, _, _ in found], notes)
        facts = {"events": sorted([one, state] for one, state, _ in found)}
        return Effect(changes, facts, notes, idle=not found)

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Queue them."""
        done = replay([one for one, _ in shown["events"]], by=by.who)
        waiting = len(done.already_queued)
        more = f"; {waiting} waited already" if waiting else ""
        return Done(f"{done.enqueued} event{'s' * (done.enqueued != 1)} queued{more}.")


class Resync(OrgAct):
    """manage.py reconcile_stripe --org ID --apply."""

    name = "resync-organization"
    title = "Re-sync from Stripe"
    about = (
        "Compares what is known here with what Stripe says now, and mends what is safe to mend."
        " Nothing is written at Stripe."
    )
    group = "Stripe and notifications"
    icon = "sync"
    permission = "webhooks.replay_webhookevent"
    rows = {
        **ORG_PAGES,
        "billing.Subscription": lambda row: of_its_org(row) if row.org_id else None,
    }

    def effect(self, asked: Asked) -> Effect:
        """Return what differs."""
        found = reconcile(_organization(asked), repair=False)
        mended = [one for one in found if one.kind in SAFE]
        changes = [Change(one.key, _words(one), "as Stripe says") for one in mended]
        notes = [f"A person has to look: {one}" for one in found if one.kind in UNSAFE]
        if not found:
            notes.append("Nothing differs: what is known here is what Stripe says.")
        facts = {"found": sorted([one.kind, one.key, one.detail] for one in found)}
        return Effect(changes, facts, notes, idle=not mended)

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Mend."""
        found = reconcile(_organization(asked), repair=True)
        left = sum(not one.repaired for one in found)
        return Done(f"{len(found) - left} differences mended, {left} left to look at.")


def _chosen(asked: Asked) -> "QuerySet[WebhookEvent]":
    return select(
        event_ids=asked["event_ids"],
        states=[asked["state"]] if asked["state"] else (),
        type_=asked["type"],
        org_id=asked["org_id"],
        since=asked["since"],
        until=asked["until"],
    )


def _waiting(by_kind: "Counter[tuple[str, str]]") -> list[str]:
    pending = WebhookEvent.State.PENDING
    waiting = sum(number for (_, state), number in by_kind.items() if state == pending)
    return [f"{waiting} wait for their turn already: it comes at once."] if waiting else []


def _unknown(asked: Asked, found: list[str]) -> list[str]:
    missing = [one for one in asked["event_ids"] if one not in set(found)]
    if not found and not missing:
        return ["No event fits."]
    return [f"Not known here: {', '.join(missing)}"] if missing else []


def _tried(event_ids: list[str], notes: list[str]) -> list[Change]:
    """Return the fields that processing the first events now would change."""
    if not event_ids:
        return []
    try:
        found = list(dry_run(select(event_ids=event_ids[:_TRIED])))
    except ApiError as error:
        # What cannot be tried can still be queued: the worker tries until Stripe answers.
        notes.append(f"What it would change is not known: {error.message}.")
        return []
    if len(event_ids) > _TRIED:
        notes.append(f"What would change was asked for the first {_TRIED} events.")
    if not found:
        notes.append("Processed now, they would change nothing: all is as Stripe says.")
    return [
        Change(f"{one.table} {one.key}: {one.field}", _shown(one.before), _shown(one.after))
        for one in dict.fromkeys(found)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return "–" if value in (None, "", {}) else str(value)


def _words(one: Finding) -> str:
    return f"{SAFE[one.kind]} ({one.detail})" if one.detail else SAFE[one.kind]


def _organization(asked: Asked) -> Organization:
    return Organization.objects.get(org_id=asked["org_id"])
