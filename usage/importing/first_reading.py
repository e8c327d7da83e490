"""The first reading of a log: nothing is counted yet, but it is clear what its lines are."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from usage.importing import runs
from usage.importing.errors import Unreadable
from usage.importing.formats import Parser
from usage.importing.identity import KnownLog, Look, Segment, opening_of, part_of
from usage.importing.logfile import LogFile
from usage.importing.order import ImportOrder, Summary
from usage.importing.repeats import Repeats
from usage.importing.runs import Source
from usage.importing.sample import Sample
from usage.models import ImportedLog, ImportRun

_TELL_EVERY = 20_000


@dataclass(slots=True)
class FirstReading:
    """What the first reading of a log found."""

    repeats: Repeats
    identity: Look
    bytes: int = 0
    last_at: datetime | None = None


def look_at(
    log: LogFile,
    known: Sequence[KnownLog],
    order: ImportOrder,
    summary: Summary,
    on_progress: Callable[[], None],
) -> FirstReading:
    """Read a log for the first time: which lines repeat, which logs it is of, its last instant."""
    # The last instant is that of all lines, whatever the filters: it must not
    # depend on what is asked for first.
    look = FirstReading(Repeats(log.likely_lines), Look(known))
    parser = Parser(order.fields)
    for line in log.lines():
        summary.total += 1
        look.bytes = line.end
        look.identity.see(look.repeats.look(line.raw), ended=line.ended)
        if summary.total % _TELL_EVERY == 0:
            on_progress()
        if order.shift_to_now:
            with suppress(Unreadable):
                at = parser.parse(line).at
                look.last_at = max(at, look.last_at or at)
    look.identity.close()
    return look


def opening_segment(
    log: LogFile, look: FirstReading, known: Sequence[KnownLog], order: ImportOrder, source: Source
) -> Segment:
    """Return the log that a file begins with: a known one, or a new one of the source."""
    beginning = opening_of(look.identity, source.label)
    if beginning is not None:
        return beginning
    has_logs = ImportedLog.objects.filter(
        run__org_id=source.org_id, run__source=source.label
    ).exists()
    if not has_logs and runs.has_events(source):
        # Counted before logs were known by their content: under the source's name alone.
        run = ImportRun.objects.filter(org_id=source.org_id, source=source.label).first()
        return Segment(0, run)
    middle = _sample(log, look, order).counted_in(known, filters=order.filters) if known else None
    if middle is not None:
        return Segment(0, middle.run, middle.part, is_new=middle.id > 0, is_named=order.is_named)
    is_first = order.is_named or not has_logs
    return Segment(
        0,
        part="" if is_first else part_of(look.identity.head),
        is_new=True,
        is_named=order.is_named,
    )


def _sample(log: LogFile, look: FirstReading, order: ImportOrder) -> Sample:
    sample, parser = Sample(), Parser(order.fields)
    for line in log.lines(until=look.bytes):
        with suppress(Unreadable):
            request = parser.parse(line)
            if order.keep.passes(request) and order.units.of(request):
                sample.add(line.raw)
    return sample
