"""The one row of a source: what is fixed at its first import and reused ever after."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest

from django.db import DatabaseError, OperationalError, connection, transaction

from quotas.queries import current_entitlement
from usage.importing.errors import CannotImport
from usage.importing.identity import Look, Segment, with_tail
from usage.importing.ids import prefix_of
from usage.models import ImportedLog, ImportRun, UsageEvent

_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Source:
    """A log of an organisation, and what its lines are counted as."""

    org_id: str
    label: str
    metric: str
    units: str


@contextmanager
def alone(source: Source, *, in_organisation: bool = False) -> Iterator[None]:
    """Keep other imports of the source out; a process that dies lets go by itself.

    With `in_organisation`, which an import without a named source needs: which log its
    file is depends on all others, so it keeps out every other import of the organisation.
    Raises CannotImport when another one runs.
    """
    org = "" if in_organisation else "_shared"
    locks = (
        ("", f"import_usage {source.org_id} {source.label}", source.label),
        (org, f"import_usage {source.org_id}", f"a log for {source.org_id}"),
    )
    with ExitStack() as stack, connection.cursor() as cursor:
        for mode, key, what in locks:
            try:
                cursor.execute(f"SELECT pg_advisory_lock{mode}(hashtextextended(%s, 0))", [key])
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise CannotImport(f"Another import of {what} is running") from error
            stack.callback(_unlock, mode, key)
        yield


def _unlock(mode: str, key: str) -> None:
    # A lost connection has let go already.
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_unlock{mode}(hashtextextended(%s, 0))", [key])


def may_fix_shift(source: Source) -> bool:
    """Tell whether an import that asks for a shift would still get its own.

    True until something of the source was counted, or may have been by a run that
    was killed. Whoever forgot `--shift-to-now` and saw every line rejected can
    simply ask again.
    """
    run = ImportRun.objects.filter(org_id=source.org_id, source=source.label).first()
    return run is None or (run.finished_at is not None and not has_events(source))


def begin(
    source: Source,
    *,
    shift: bool,
    last_at: datetime | None,
    segments: Sequence[Segment],
    look: Look,
    now: datetime,
) -> ImportRun:
    """Return the source's row, made at its first import, marked as going on.

    The first of the `segments` becomes known by its beginning, as `look` saw it.

    With `shift`, at the first import, `last_at` becomes `now` rounded down to the second,
    and the start of the current period the floor of all instants. Raises
    CannotImport where what is asked contradicts what was counted.
    """
    fresh = may_fix_shift(source)
    with transaction.atomic():
        run, _made = ImportRun.objects.select_for_update().get_or_create(
            org_id=source.org_id,
            source=source.label,
            defaults={"metric": source.metric, "units": source.units, "created_at": now},
        )
        if fresh:
            run.metric, run.units = source.metric, source.units
        else:
            _refuse_contradiction(run, source, shift=shift)
        if fresh and shift and last_at is not None:
            run.shift_seconds = (now - last_at) // timedelta(seconds=1)
            run.floor_at = _period_start(source.org_id, now)
        run.finished_at = None
        run.save()
        for segment in segments:
            if segment.run is not None and segment.run.pk != run.pk:
                _refuse_contradiction(segment.run, source, shift=False)
            else:
                segment.run = run
        _keep_beginning(run, segments, look)
    return run


def _keep_beginning(run: ImportRun, segments: Sequence[Segment], look: Look) -> None:
    first = segments[0]
    lines = segments[1].start if len(segments) > 1 else look.lines
    head = "".join(look.head[:lines])
    if first.is_new and lines:
        row = ImportedLog.objects.create(
            run=run, part=first.part, head=head, lines=lines, is_named=first.is_named
        )
        first.row_id = row.pk
    elif first.log is not None:
        first.row_id = first.log.id
        ImportedLog.objects.filter(pk=first.log.id, lines__lt=lines).update(
            head=max(head, "".join(first.log.head), key=len), lines=lines
        )
    for segment, following in zip_longest(segments, segments[1:]):
        end = ImportedLog.objects.filter(run=segment.run, part=segment.part).order_by("pk").first()
        if end is not None and look.lines:
            tail = look.tail if following is None else look.before.get(following.start, "")
            end.tails = with_tail(end.tails, tail) if tail else end.tails
            end.save(update_fields=["tails"])
    # Until it is through, lines of them may be missing in the ledger.
    for segment in segments:
        rows = ImportedLog.objects.filter(run=segment.run, part=segment.part, is_whole=True)
        segment.whole_rows = list(rows)
    for segment in segments:
        ImportedLog.objects.filter(run=segment.run, part=segment.part).update(is_whole=False)


def finish(
    run: ImportRun,
    segments: Sequence[Segment],
    *,
    is_through: bool,
    filters: str,
    read: int,
    filtered: int,
    accepted: int,
    duplicate: int,
    rejected: int,
    now: datetime,
) -> None:
    """Write what the run came to. `filters` chose among its lines; empty where none were."""
    if is_through and not rejected:
        _mark_whole(segments, filters if filtered else "")
    ImportRun.objects.filter(pk=run.pk).update(
        read=read,
        filtered=filtered,
        accepted=accepted,
        duplicate=duplicate,
        rejected=rejected,
        finished_at=now,
    )


def _mark_whole(segments: Sequence[Segment], filters: str) -> None:
    for segment in segments:
        # What was whole for any line, or for the same choice of lines, is again.
        again = [row.pk for row in segment.whole_rows if filters in ("", row.filters)]
        ImportedLog.objects.filter(pk__in=again).update(is_whole=True)
    first = segments[0]
    rows = ImportedLog.objects.filter(pk=first.row_id)
    before = first.log
    if before is not None and before.whole_for == "" and rows.filter(lines=before.lines):
        filters = ""  # nothing was added since every line of it was counted
    rows.update(is_whole=True, filters=filters)


def _refuse_contradiction(run: ImportRun, source: Source, *, shift: bool) -> None:
    # Each of these would make every line that was counted before a conflict.
    told = (
        ("metric", run.metric, source.metric),
        ("units per line", run.units, source.units),
    )
    for name, counted, asked in told:
        if counted != asked:
            raise CannotImport(
                f"Source {run.source} was counted with {name}: {counted}, not {asked};"
                " another --source counts it anew"
            )
    if shift and run.floor_at is None:
        raise CannotImport(
            f"Source {source.label} was counted without a shift: its instants stay as they are;"
            " another --source counts it anew"
        )


def has_events(source: Source) -> bool:
    """Tell whether anything of a source was counted."""
    return UsageEvent.objects.filter(
        org_id=source.org_id, request_id__startswith=prefix_of(source.label)
    ).exists()


def _period_start(org_id: str, now: datetime) -> datetime:
    current = current_entitlement(org_id=org_id, now=now)
    if current is None:
        raise CannotImport(f"Nothing was ever granted to {org_id}")
    return current.period.start
