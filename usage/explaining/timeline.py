"""What happened around an instant, oldest first, and what is still ahead."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from quotas.denial_models import Denial
from quotas.models import Adjustment, Forgiveness
from tokens.models import AuditEntry
from usage.explaining import then, words
from usage.explaining.shape import Explanation, Happening
from usage.models import UsageEvent

#: How far back an explanation looks beyond the period, and how much it shows of each kind.
_BACK = timedelta(days=35)
_MOST = 10


def of(explanation: Explanation) -> list[Happening]:
    """Return the timeline of an explanation, the instant itself among it."""
    period = explanation.figures.period if explanation.figures else None
    start = min(period.start if period else explanation.at, explanation.at - _BACK)
    end = explanation.at + timedelta(days=1)
    entries = [
        *_entitlement(explanation.org_id, start, end),
        *_suspensions(explanation, start, end),
        *_corrections(explanation),
        *_denials(explanation, end),
        *_last_use(explanation),
        *_ahead(explanation),
        _here(explanation),
    ]
    # The instant itself stands after whatever led to it.
    return sorted(entries, key=lambda one: (one.at, one.mark))


def _here(explanation: Explanation) -> Happening:
    return Happening(explanation.at, "mark", words.verdict(explanation), mark=True)


def _entitlement(org_id: str, start: datetime, end: datetime) -> Iterator[Happening]:
    rows = list(then.history_rows(org_id).filter(updated_at__lte=end)[: 2 * _MOST])
    for newer, older in pairwise([*rows, None]):
        if newer.updated_at < start:
            return
        for text in words.changes(older, newer):
            yield Happening(newer.updated_at, "subscription", text, _why(newer))
        if older is None or older.updated_at < start:
            return


def _why(row: Any) -> str:
    context = row.pgh_context or {}
    told = [context.get("why") or row.status_because]
    if context.get("request_id"):
        told.append(f"request {context['request_id']}")
    return ", ".join(part for part in told if part)


def _suspensions(explanation: Explanation, start: datetime, end: datetime) -> Iterator[Happening]:
    rows = AuditEntry.objects.filter(
        org_id=explanation.org_id, what__in=("suspended", "restored"), at__range=(start, end)
    ).order_by("-at")[:_MOST]
    for row in rows:
        text = f"The organisation was {row.what}."
        yield Happening(row.at, "suspension", text, _by(row.detail.get("reason"), row.who))


def _corrections(explanation: Explanation) -> Iterator[Happening]:
    if explanation.figures is None:
        return
    of_counter = {
        "org_id": explanation.org_id,
        "metric": explanation.metric,
        "period_start": explanation.figures.period.start,
    }
    for row in Adjustment.objects.filter(**of_counter).order_by("-made_at")[:_MOST]:
        text = f"Staff {'granted' if row.units > 0 else 'took away'} {words.units(abs(row.units))}"
        until = f", until {words.instant(row.expires_at)}" if row.expires_at else ""
        yield Happening(row.made_at, "correction", f"{text}{until}.", _by(row.reason, row.made_by))
    for forgiven in Forgiveness.objects.filter(**of_counter).order_by("-made_at")[:_MOST]:
        text = f"A reset took {words.units(forgiven.units)} off the books."
        detail = _by(forgiven.reason, forgiven.made_by)
        yield Happening(forgiven.made_at, "correction", text, detail)


def _denials(explanation: Explanation, end: datetime) -> Iterator[Happening]:
    rows = Denial.objects.filter(
        org_id=explanation.org_id, metric=explanation.metric, minute__lte=end
    ).order_by("-minute", "-pk")[:_MOST]
    explained = explanation.request.denial_id if explanation.request else None
    for row in rows:
        if row.pk == explained and row.count == 1:
            continue  # it is the instant itself
        times = "once" if row.count == 1 else f"{row.count:,} times"
        numbers = (
            f"{row.used:,} of {words.units(row.included)} used"
            if row.used is not None and row.included is not None
            else "nothing was granted"
        )
        text = f"Denied {times} with {row.code}: {numbers}."
        detail = f"correlation id {row.last_correlation_id}" if row.last_correlation_id else ""
        yield Happening(row.last_at, "denial", text, detail)


def _last_use(explanation: Explanation) -> Iterator[Happening]:
    """The newest use that was counted before: most often the one that spent the quota."""
    if explanation.figures is None:
        return
    event = (
        UsageEvent.objects.filter(
            org_id=explanation.org_id,
            metric=explanation.metric,
            counted_at__gte=explanation.figures.period.start,
            counted_at__lte=explanation.at,
        )
        .order_by("-counted_at", "-pk")
        .first()
    )
    if event is None or (explanation.use and explanation.use.event.pk == event.pk):
        return
    text = (
        f"{words.units(event.value)} counted, the last before: {event.used_after:,} used,"
        f" {event.remaining_after:,} left."
    )
    yield Happening(event.counted_at, "use", text, f"request_id {event.request_id}")


def _ahead(explanation: Explanation) -> Iterator[Happening]:
    standing = explanation.standing
    if explanation.resets_at is not None:
        text = "The next period begins, with nothing used."
        yield Happening(explanation.resets_at, "ahead", text)
    if standing is None:
        return
    if standing.scheduled_at is not None:
        text = f"The plan changes to {standing.scheduled_plan}, as scheduled."
        yield Happening(standing.scheduled_at, "ahead", text)
    if standing.ends_at is not None and standing.has_access:
        yield Happening(standing.ends_at, "ahead", words.access_ends(standing))


def _by(reason: object, who: str) -> str:
    return f"{reason} ({who})" if reason else who
