"""The verbs of this app, the same for every door."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from config.contract.bodies import shaped
from config.contract.errors import ApiError
from usage import combining, ledger
from usage.bodies import EventBody
from usage.ledger import NewUsageEvent, Recorded


def record_usage(*, org_id: str, event: NewUsageEvent) -> Recorded:
    """Count one use in the period that contains `event.occurred_at`.

    A repeat of a stored event returns the stored answer and counts nothing.
    Raises RequestIdConflict, OutsideWindow, PaymentRequired or QuotaExceeded;
    each writes nothing.
    """
    return combining.record_one(org_id=org_id, event=event).or_raise()


def record_batch(*, org_id: str, documents: Sequence[Any], now: datetime) -> list[Recorded]:
    """Count many uses, decided in input order; a bad one rejects itself alone.

    `documents` are parsed JSON values, each supposed to be an EventBody.
    """
    outcomes: list[Recorded | None] = []
    events: list[NewUsageEvent] = []
    for document in documents:
        try:
            events.append(shaped(EventBody, document).event())
            outcomes.append(None)
        except ApiError as error:
            outcomes.append(Recorded("rejected", error=error))
    recorded = iter(ledger.record(org_id=org_id, events=events, now=now) if events else ())
    return [outcome if outcome is not None else next(recorded) for outcome in outcomes]
