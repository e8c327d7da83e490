"""The one row of a source: what is fixed at its first import and reused ever after."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, OperationalError, connection, transaction

from quotas.queries import current_entitlement
from usage.importing.errors import CannotImport
from usage.importing.ids import prefix_of
from usage.models import ImportRun, UsageEvent

_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Source:
    """A log of an organisation, and what its lines are counted as."""

    org_id: str
    label: str
    metric: str
    units: str


@contextmanager
def alone(source: Source) -> Iterator[None]:
    """Keep other imports of the source out; a process that dies lets go by itself.

    Counting once does not rest on this: it keeps two first imports from fixing two
    different shifts. Raises CannotImport when another one runs.
    """
    key = [f"import_usage {source.org_id} {source.label}"]
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", key)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise CannotImport(f"Another import of {source.label} is running") from error
    try:
        yield
    finally:
        # A lost connection has let go already.
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", key)


def may_fix_shift(source: Source) -> bool:
    """Tell whether an import that asks for a shift would still get its own.

    True until something of the source was counted, or may have been by a run that
    was killed. Whoever forgot `--shift-to-now` and saw every line rejected can
    simply ask again.
    """
    run = ImportRun.objects.filter(org_id=source.org_id, source=source.label).first()
    return run is None or (run.finished_at is not None and not _has_events(source))


def begin(source: Source, *, shift: bool, last_at: datetime | None, now: datetime) -> ImportRun:
    """Return the source's row, made at its first import, marked as going on.

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
    return run


def finish(
    run: ImportRun,
    *,
    read: int,
    filtered: int,
    accepted: int,
    duplicate: int,
    rejected: int,
    now: datetime,
) -> None:
    """Write what the run came to."""
    ImportRun.objects.filter(pk=run.pk).update(
        read=read,
        filtered=filtered,
        accepted=accepted,
        duplicate=duplicate,
        rejected=rejected,
        finished_at=now,
    )


def _refuse_contradiction(run: ImportRun, source: Source, *, shift: bool) -> None:
    # Each of these would make every line that was counted before a conflict.
    told = (
        ("metric", run.metric, source.metric),
        ("units per line", run.units, source.units),
    )
    for name, counted, asked in told:
        if counted != asked:
            raise CannotImport(
                f"Source {source.label} was counted with {name}: {counted}, not {asked};"
                " another --source counts it anew"
            )
    if shift and run.floor_at is None:
        raise CannotImport(
            f"Source {source.label} was counted without a shift: its instants stay as they are;"
            " another --source counts it anew"
        )


def _has_events(source: Source) -> bool:
    return UsageEvent.objects.filter(
        org_id=source.org_id, request_id__startswith=prefix_of(source.label)
    ).exists()


def _period_start(org_id: str, now: datetime) -> datetime:
    current = current_entitlement(org_id=org_id, now=now)
    if current is None:
        raise CannotImport(f"Nothing was ever granted to {org_id}")
    return current.period.start
