"""The one function behind every explanation: the API, the command and the page show it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.conf import settings

from config.contract.errors import NotFound, ValidationFailed
from quotas import catalogue
from quotas.denial_book import book
from quotas.denial_models import Denial, DeniedRequest
from quotas.models import Entitlement
from quotas.periods import Period
from tokens import access
from usage.explaining import found, then, timeline
from usage.explaining.rule import Rule
from usage.explaining.shape import CountedUse, Explanation, Figures, Standing

_BEFORE_HISTORY = (
    "What the organisation might use at that instant is not known: the history of its"
    " entitlement begins later."
)

_waiting = threading.Lock()


def explain(
    *,
    now: datetime,
    org_id: str | None = None,
    metric: str | None = None,
    at: datetime | None = None,
    quoted: str | None = None,
) -> Explanation:
    """Explain what was decided about the request `quoted`, or what holds for one unit at `at`.

    `quoted` is a request id, a correlation id or the id of a use, and then says which
    organisation, metric and instant. Otherwise `at` is `now` unless given. Raises
    NotFound where the organisation, or nothing under that id, is known, and
    ValidationFailed where neither an id nor organisation and metric are given.
    """
    if quoted is not None:
        explanation = _of_id(quoted, org_id=org_id, metric=metric, now=now)
    else:
        if org_id is None:
            raise ValidationFailed({"orgId": ["Name the organisation"]})
        if metric is None:
            raise ValidationFailed({"metric": ["Name the metric, or give a request id"]})
        if not access.exists(org_id):
            raise NotFound("No such organisation")
        catalogue.require(metric)
        explanation = _of_instant(org_id, metric, at or now, now)
    return replace(explanation, timeline=timeline.of(explanation))


def _of_instant(org_id: str, metric: str, at: datetime, now: datetime) -> Explanation:
    entitlement, known = then.entitlement_at(org_id, at)
    gaps: list[str] = [] if known else [_BEFORE_HISTORY]
    standing, figures = None, None
    if entitlement is not None:
        standing = then.standing_of(entitlement, at)
        figures, missing = then.figures_at(entitlement, metric, at)
        gaps += missing
    suspended = then.suspension_at(org_id, at, now)
    if suspended is not None:
        rule = Rule.SUSPENDED
    elif not known:
        rule = Rule.NOT_KNOWN
    elif standing is None or figures is None:
        rule = Rule.NOTHING_GRANTED
    elif not standing.has_access:
        rule = _access_rule(standing)
    else:
        rule = _room_rule(figures, value=1)
    return Explanation(
        org_id=org_id,
        metric=metric,
        at=at,
        now=now,
        value=1,
        rule=rule,
        decided_by="database",
        figures=figures,
        standing=standing,
        suspended=suspended,
        gaps=gaps,
    )


def _of_id(quoted: str, *, org_id: str | None, metric: str | None, now: datetime) -> Explanation:
    known = _patient(lambda: found.find(quoted, org_id=org_id, metric=metric))
    newest, use = (known.denied[0] if known.denied else None), known.counted
    if newest is None and use is None:
        raise NotFound(_nothing_under_this_id(known.ledger_asked))
    if newest is not None and (use is None or newest.at > use.event.recorded_at):
        explanation = _of_denied(newest, now)
        return replace(explanation, also_denied=known.denied[1:], also_counted=use)
    assert use is not None  # noqa: S101 - one of the two was found
    return replace(_of_use(use, now), also_denied=known.denied)


def _patient(look: Callable[[], found.Found]) -> found.Found:
    """Look, and where nothing is found once more when every process has written its denials down.

    Who is denied may ask why at once, and be answered by another process. One at a
    time waits here: asking for ids that do not exist must not use up the threads.
    """
    book.flush()
    known = look()
    if known.denied or known.counted or not _waiting.acquire(blocking=False):
        return known
    try:
        time.sleep(2 * settings.DENIAL_FLUSH)
        return look()
    finally:
        _waiting.release()


def _nothing_under_this_id(ledger_asked: bool) -> str:
    said = (
        f"Nothing is known under this id. Denials are kept for {settings.DENIAL_DAYS} days,"
        f" with the ids of the first {settings.DENIAL_REQUESTS:,} requests of each minute;"
        " uses that were counted are known by the request_id in their body"
    )
    if ledger_asked:
        return f"{said}."
    return f"{said}, and to look there takes the organisation's id too."


def _of_denied(request: DeniedRequest, now: datetime) -> Explanation:
    denial = request.denial
    entitlement, known = then.entitlement_at(denial.org_id, request.at)
    standing = then.standing_of(entitlement, request.at) if entitlement else None
    figures = _figures_of(denial, entitlement, request.at)
    if denial.code == "RATE_LIMITED" and figures is not None:
        rule = Rule.SPENT if not figures.remaining else Rule.MORE_THAN_REMAINING
    elif standing is not None:
        # A valid subscription that was denied all the same: it began after the event's period.
        rule = Rule.NOTHING_SOLD if standing.has_access else _access_rule(standing)
    else:
        rule = Rule.NOTHING_GRANTED if known else Rule.STATUS_NOT_VALID
    return Explanation(
        org_id=denial.org_id,
        metric=denial.metric,
        at=request.at,
        now=now,
        value=request.value,
        rule=rule,
        decided_by=request.decided_by,
        figures=figures,
        standing=standing,
        suspended=None,
        request=request,
        gaps=[] if known else [_BEFORE_HISTORY],
    )


def _figures_of(denial: Denial, entitlement: Entitlement | None, at: datetime) -> Figures | None:
    """Return the numbers that a denial was decided on; None where there was no counter."""
    if denial.period_start is None or denial.period_end is None or denial.used is None:
        return None
    return then.figures_decided(
        entitlement,
        org_id=denial.org_id,
        metric=denial.metric,
        period=Period(denial.period_key, denial.period_start, denial.period_end),
        at=at,
        used=denial.used,
        included=denial.included,
        version=denial.counter_version,
    )


def _of_use(use: CountedUse, now: datetime) -> Explanation:
    event = use.event
    entitlement, known = then.entitlement_at(event.org_id, event.recorded_at)
    figures = then.figures_decided(
        entitlement,
        org_id=event.org_id,
        metric=event.metric,
        period=then.period_of_event(event),
        at=event.recorded_at,
        used=event.used_after,
        # With nothing left the answer does not say how much there was.
        included=event.used_after + event.remaining_after if event.remaining_after else None,
        version=event.counter_version,
    )
    over = event.used_after > figures.included
    return Explanation(
        org_id=event.org_id,
        metric=event.metric,
        at=event.recorded_at,
        now=now,
        value=event.value,
        rule=Rule.OVERAGE_ALLOWED if over else Rule.WITHIN_INCLUDED,
        decided_by="database",
        figures=figures,
        standing=(then.standing_of(entitlement, event.recorded_at) if entitlement else None),
        suspended=None,
        use=use,
        gaps=[] if known else [_BEFORE_HISTORY],
    )


def _access_rule(standing: Standing) -> Rule:
    """Say why a subscription that gives no access gives none."""
    if standing.ends_by == "cancellation":
        return Rule.CANCELLATION_DUE
    return {"trialing": Rule.TRIAL_OVER, "past_due": Rule.PAST_DUE_TOO_LONG}.get(
        standing.status, Rule.STATUS_NOT_VALID
    )


def _room_rule(figures: Figures, *, value: int) -> Rule:
    """Say whether `value` more units fit."""
    if figures.used is None:
        return Rule.NOT_KNOWN
    if figures.used + value <= figures.included:
        return Rule.WITHIN_INCLUDED
    if figures.goes_on:
        return Rule.OVERAGE_ALLOWED
    return Rule.MORE_THAN_REMAINING if figures.remaining else Rule.SPENT
