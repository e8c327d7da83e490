"""Taking an event back."""

from config.backoffice.acts.base import Act, Asked, By, Change, Done, Effect, Facts
from config.backoffice.acts.forms import OrgActForm, text
from config.contract import clock
from usage.voids import preview_void, void_event


class EventForm(OrgActForm):
    """Which event."""

    request_id = text("Request id", most=128, help_text="Under which the use was reported.")


class VoidEvent(Act):
    """POST /api/v1/usage/void."""

    name = "void-event"
    title = "Void an event"
    about = (
        "Takes one counted use back. The event stays in the ledger beside a row that voids it;"
        " this cannot be undone, and the request id cannot be used again."
    )
    group = "Quota"
    icon = "undo"
    permission = "usage.add_usagevoid"
    form = EventForm
    dangerous = True
    rows = {
        "usage.UsageEvent": lambda row: {"org_id": row.org_id, "request_id": row.request_id},
    }

    def effect(self, asked: Asked) -> Effect:
        """Return the event and its counter."""
        found = preview_void(
            org_id=asked["org_id"], request_id=asked["request_id"], now=clock.now()
        )
        event, counter = found.event, found.counter
        facts = {"voided": found.void is not None, "version": event.counter_version}
        if found.void is not None:
            when = f"{found.void.voided_at:%Y-%m-%d %H:%M}"
            return Effect([], facts, [f"It was voided at {when}: {found.void.reason}"], idle=True)
        at = f"{event.occurred_at:%Y-%m-%d %H:%M:%S}"
        return Effect(
            [
                Change(f"Event {event.request_id}", "counts", "voided"),
                Change(
                    f"{event.metric}: used in {event.period_key}",
                    f"{counter.used:,}",
                    f"{counter.used - event.value:,}",
                ),
            ],
            facts,
            [f"The event is of {at} UTC and of {event.value:,} units."],
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Void it."""
        void = void_event(
            org_id=asked["org_id"],
            request_id=asked["request_id"],
            reason=asked["reason"],
            voided_by=by.who,
            now=clock.now(),
        )
        return Done(f"Event {void.request_id} voided: {void.value:,} units of {void.metric} less.")
