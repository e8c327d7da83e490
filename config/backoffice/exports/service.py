"""Making exports: at once where a list is short, by a worker where it is long.

A worker writes page after page and notes after each how far it got. Whoever takes
over, after a crash or at the end of a turn, goes on from there: what was written
beyond it is cut off and written again.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import IO, Any

import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404

from config.backoffice.acts import record
from config.backoffice.export_models import Export
from config.backoffice.exports import files
from config.backoffice.exports.lists import ExportedList, reader
from config.backoffice.models import StaffAct
from config.contract import clock, csvtext

logger = structlog.get_logger("metergate.exports")
#: Seconds that a worker stays at one export before others have their turn.
TURN = 60.0
#: Of one member of staff: exports that are not written yet, and files that can be fetched. A
#: script that orders without end fills neither the disk nor the workers.
MOST_RUNNING = 3
MOST_KEPT = 10
_LEASE = timedelta(seconds=150)
#: How long it is shown that there was an export; its audit stays for ever.
_ROW_LIFE = timedelta(days=30)
State = Export.State


class TooManyExports(Exception):
    """Somebody waits for as many exports as one person may."""


def stream(wanted: ExportedList, act: StaffAct) -> Iterator[str]:
    """Yield a short list as text, and write down how that ended."""
    rows, whole = 0, False
    try:
        yield csvtext.lines([wanted.columns])
        for page, _ in wanted.pages():
            rows += len(page)
            yield csvtext.lines(page)
        whole = True
    finally:
        said = f"{rows:,} rows" if whole else f"Broken off after {rows:,} rows"
        record.end(act, said=said, failed=not whole)


def begin(wanted: ExportedList, query: str, user: User) -> StaffAct:
    """Write down in the audit that somebody takes a list out."""
    return record.note(
        act="export",
        user=user,
        reason=f"Took out {wanted.title}",
        asked={"list": wanted.model._meta.label, "filters": query},
    )


def order(wanted: ExportedList, query: str, user: User, *, now: datetime) -> Export:
    """Leave a long list to a worker; `now` is real time.

    The oldest files of who has MOST_KEPT make room. Raises TooManyExports where MOST_RUNNING
    of theirs are not written yet.
    """
    with transaction.atomic():
        # One order of a person at a time, or two of them would both find the last place.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        theirs = Export.objects.filter(maker=user)
        if theirs.filter(state=State.WAITING).count() >= MOST_RUNNING:
            raise TooManyExports
        for export in theirs.filter(state=State.DONE).order_by("-finished_at")[MOST_KEPT - 1 :]:
            _expire(export)
        act = begin(wanted, query, user)
        return Export.objects.create(
            uuid=act.uuid,
            listed=wanted.model._meta.label,
            query=query,
            maker=user,
            created_at=now,
            lease_until=now,
        )


def write(pk: int) -> bool:
    """Go on with an export for one turn. Returns whether it is over; safe to call twice."""
    now = clock.real_now()
    # One conditional UPDATE: of two workers one has it.
    free = Export.objects.filter(pk=pk, state=State.WAITING, lease_until__lte=now)
    if not free.update(lease_until=now + _LEASE):
        return True
    export = Export.objects.select_related("maker").get(pk=pk)
    try:
        return _turn(export)
    except (PermissionDenied, Http404):
        _fail(export, "Its maker may not read the list any more")
    except ValueError as error:
        _fail(export, str(error))
    except OSError as error:
        logger.exception("export_failed", export=str(export.uuid))
        _fail(export, f"The file could not be written ({type(error).__name__})")
    return True


def unfinished(*, now: datetime) -> list[int]:
    """Return the exports that nobody is at."""
    left = Export.objects.filter(state=State.WAITING, lease_until__lte=now)
    return list(left.order_by("lease_until").values_list("pk", flat=True)[:100])


def forget(*, now: datetime) -> int:
    """Delete the files whose time is over, and rows long after; returns how many files."""
    over = Export.objects.filter(state=State.DONE, expires_at__lte=now)
    gone = 0
    for export in over.iterator():
        _expire(export)
        gone += 1
    Export.objects.filter(created_at__lte=now - _ROW_LIFE).exclude(state=State.WAITING).delete()
    # The folder first: what is ordered from here on is in neither.
    strays = files.found()
    live = Export.objects.filter(uuid__in=strays, state__in=(State.WAITING, State.DONE))
    strays -= set(live.values_list("uuid", flat=True))
    for uuid in strays:
        files.delete(uuid)
    return gone + len(strays)


def _expire(export: Export) -> None:
    Export.objects.filter(pk=export.pk).update(state=State.EXPIRED)
    transaction.on_commit(lambda: files.delete(export.uuid))


def _turn(export: Export) -> bool:
    if not (export.maker.is_active and export.maker.is_staff):
        raise PermissionDenied
    wanted = ExportedList(export.listed, reader(export.maker, export.query))
    part = files.open_part(export.uuid, export.size)
    if part is None:
        # Begun on another machine, whose folder is not this one.
        export.rows, export.size, export.last_key = 0, 0, None
        part = files.open_part(export.uuid, 0)
    assert part is not None  # noqa: S101 - at least nothing is always there
    with part:
        if not _write_pages(export, wanted, part):
            return False
    files.finish(export.uuid)
    now = clock.real_now()
    Export.objects.filter(pk=export.pk).update(
        state=State.DONE, finished_at=now, expires_at=now + settings.EXPORT_LIFE
    )
    _end(export, f"{export.rows:,} rows, {export.size:,} bytes")
    return True


def _write_pages(export: Export, wanted: ExportedList, part: IO[bytes]) -> bool:
    """Write until the end, which is True, or until the turn is over."""
    end = time.monotonic() + TURN
    if export.size == 0:
        _append(export, part, [wanted.columns], rows=0, key=None)
    for page, key in wanted.pages(after=export.last_key):
        _append(export, part, page, rows=len(page), key=key)
        if time.monotonic() > end:
            Export.objects.filter(pk=export.pk).update(lease_until=clock.real_now())
            return False
    return True


def _append(export: Export, part: IO[bytes], rows_: list[Any], *, rows: int, key: Any) -> None:
    export.size += part.write(csvtext.lines(rows_).encode())
    part.flush()
    export.rows += rows
    export.last_key = key
    export.lease_until = clock.real_now() + _LEASE
    export.save(update_fields=["size", "rows", "last_key", "lease_until"])


def _fail(export: Export, why: str) -> None:
    files.delete(export.uuid)
    now = clock.real_now()
    Export.objects.filter(pk=export.pk).update(state=State.FAILED, error=why, finished_at=now)
    _end(export, why, failed=True)


def _end(export: Export, said: str, *, failed: bool = False) -> None:
    act = StaffAct.objects.filter(uuid=export.uuid, end=None).first()
    if act is not None:
        record.end(act, said=said, failed=failed)
