"""Bringing one log to the ledger."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from django.db import Error, connection

from config.contract import clock
from config.contract.database_errors import passes
from config.contract.errors import ApiError, Unavailable
from quotas import catalogue
from quotas.models import Metric
from quotas.queries import current_entitlement
from tokens import access
from usage import ledger
from usage.importing import runs
from usage.importing.errors import CannotImport, Unreadable
from usage.importing.first_reading import FirstReading, look_at, opening_segment
from usage.importing.formats import Parser
from usage.importing.identity import Segment, known_logs, segments
from usage.importing.ids import event_id
from usage.importing.logfile import Line, LogFile
from usage.importing.order import ImportOrder, Summary
from usage.importing.rejects import RejectsFile
from usage.importing.repeats import Repeats
from usage.importing.runs import Source
from usage.ledger import NewUsageEvent, Recorded

#: As many as one call of the batch route takes.
BATCH = 1000
#: Seconds before each further try when the database does not answer.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
#: So many bytes of lines are a batch too, however few: long lines must not fill the memory.
_BATCH_BYTES = 8 * 1024 * 1024


def is_away(error: BaseException) -> bool:
    """Tell whether an error says that the database does not answer, or takes nothing."""
    return isinstance(error, Unavailable) or passes(error)


def import_log(
    order: ImportOrder,
    log: LogFile,
    *,
    rejects: RejectsFile,
    summary: Summary,
    on_progress: Callable[[], None],
) -> None:
    """Count each request of a log once, telling `summary` what became of every line.

    Importing again, in part, overlapping, or after being interrupted anywhere,
    counts what was not counted yet. `on_progress` is called after every batch. Raises
    CannotImport when it cannot start, or when the database stays away, and what
    `is_away` names when it is away at the start.
    """
    _refuse_unknown(order)
    summary.source = order.source
    source = Source(order.org_id, order.source, order.metric, str(order.units))
    with runs.alone(source, in_organisation=not order.is_named):
        known = known_logs(
            order.org_id, metric=order.metric, source=order.source, is_named=order.is_named
        )
        look = look_at(log, known, order, summary, on_progress)
        opening = opening_segment(log, look, known, order, source)
        if opening.run is not None:
            source = replace(source, label=opening.run.source)
        parts = segments(look.identity, source.label, opening)
        summary.run = runs.begin(
            source,
            shift=order.shift_to_now,
            last_at=look.last_at,
            segments=parts,
            look=look.identity,
            now=clock.now(),
        )
        rejects.forget_older()
        try:
            _Import(order, parts, summary, rejects, on_progress).count(log, look)
        finally:
            _finish(order, parts, summary)


def _refuse_unknown(order: ImportOrder) -> None:
    found = access.summary(order.org_id, None)
    if found is None or current_entitlement(org_id=order.org_id, now=clock.now()) is None:
        raise CannotImport(f"There is no organisation {order.org_id}")
    try:
        found.admit(None)
    except ApiError as error:
        raise CannotImport(error.message) from error
    if not catalogue.is_known(order.metric):
        known = ", ".join(Metric.objects.order_by("code").values_list("code", flat=True))
        raise CannotImport(f"There is no metric {order.metric}; there is: {known or 'none'}")


def _finish(order: ImportOrder, parts: Sequence[Segment], summary: Summary) -> None:
    # Where the database is away the row stays unfinished, as after a kill.
    if summary.run is None:
        return
    try:
        runs.finish(
            summary.run,
            parts,
            is_through=summary.read == summary.total,
            filters=order.filters,
            read=summary.read,
            filtered=summary.filtered + summary.without_units,
            accepted=summary.accepted,
            duplicate=summary.duplicate,
            rejected=summary.rejected.total(),
            now=clock.now(),
        )
    except Error:
        connection.close()


class _Import:
    """The second reading: from lines to batches to outcomes."""

    def __init__(
        self,
        order: ImportOrder,
        parts: Sequence[Segment],
        summary: Summary,
        rejects: RejectsFile,
        on_progress: Callable[[], None],
    ) -> None:
        self._order = order
        self._parts = deque(parts)
        self._part = self._parts.popleft()
        self._summary = summary
        self._rejects = rejects
        self._on_progress = on_progress
        self._parser = Parser(order.fields)
        self._lines: list[Line] = []
        self._bytes = 0
        self._events: list[NewUsageEvent] = []

    def count(self, log: LogFile, look: FirstReading) -> None:
        """Bring every line of the first reading to the ledger."""
        for line in log.lines(until=look.bytes):
            if self._parts and self._parts[0].start == self._summary.read:
                self._part = self._parts.popleft()
                look.repeats.restart()
            self._summary.read += 1
            try:
                event = self._event(line, look.repeats)
            except Unreadable as fault:
                self._reject(line, f"MALFORMED: {fault}")
                continue
            if event is not None:
                self._lines.append(line)
                self._events.append(event)
                self._bytes += len(line.raw)
            if len(self._events) == BATCH or self._bytes > _BATCH_BYTES:
                self._record()
        self._record()

    def _event(self, line: Line, repeats: Repeats) -> NewUsageEvent | None:
        request = self._parser.parse(line)
        if not self._order.keep.passes(request):
            self._summary.filtered += 1
            return None
        units = self._order.units.of(request)
        if units == 0:
            self._summary.without_units += 1
            return None
        run = self._part.run
        assert run is not None, "begun"  # noqa: S101
        try:
            at = run.instant(request.at)
        except OverflowError:
            raise Unreadable("its time is out of range") from None
        # Identical lines share all that was asked above, so that numbering only
        # those that got here numbers them the same under any filter.
        ordinal = repeats.ordinal(line.raw)
        return NewUsageEvent(
            metric=self._order.metric,
            value=units,
            occurred_at=at,
            request_id=event_id(run.source, line.raw, ordinal, self._part.part),
        )

    def _record(self) -> None:
        if self._events:
            outcomes = _record(self._order.org_id, self._events)
            for line, event, outcome in zip(self._lines, self._events, outcomes, strict=True):
                self._tell(line, event, outcome)
            self._lines, self._events, self._bytes = [], [], 0
        self._on_progress()

    def _tell(self, line: Line, event: NewUsageEvent, outcome: Recorded) -> None:
        if outcome.error is not None:
            self._reject(line, reason_of(outcome.error))
        elif outcome.status == "duplicate":
            self._summary.duplicate += 1
        else:
            self._summary.accepted += 1
            self._summary.units += event.value

    def _reject(self, line: Line, reason: str) -> None:
        self._summary.rejected[reason] += 1
        self._rejects.add(line.number, reason, line.raw)


def reason_of(error: ApiError) -> str:
    """Return a refusal as one line: its code, its message, and what it is about."""
    details = error.details or {}
    about = [details.get("field"), details.get("reason"), *details.get("fields", {})]
    named = ", ".join(str(one) for one in about if one)
    return f"{error.code}: {error.message}" + (f" ({named})" if named else "")


def _record(org_id: str, events: list[NewUsageEvent]) -> list[Recorded]:
    # A batch whose answer was lost is answered from the ledger at the next try.
    pauses = iter(PAUSES)
    while True:
        try:
            return ledger.record(org_id=org_id, events=events, now=clock.now())
        except (Unavailable, Error) as error:
            if not is_away(error):
                raise
            if isinstance(error, Error):
                connection.close()  # it was lost: a new one is made at the next use
            pause = next(pauses, None)
            if pause is None:
                raise CannotImport("The database does not answer; run it again later") from error
            time.sleep(pause)
