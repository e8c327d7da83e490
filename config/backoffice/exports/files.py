"""Where exports lie: a folder that web and workers share, closed to everyone else."""

import os
from pathlib import Path
from typing import IO
from uuid import UUID

from django.conf import settings


def path_of(uuid: UUID) -> Path:
    """Return where the finished file of an export is."""
    return Path(settings.EXPORT_DIR) / f"{uuid}.csv"


def open_part(uuid: UUID, size: int) -> IO[bytes] | None:
    """Open the unfinished file to go on at `size`; None where less than that is there."""
    folder = Path(settings.EXPORT_DIR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(_part_of(uuid), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    part = os.fdopen(handle, "r+b")
    if part.seek(0, os.SEEK_END) < size:
        part.close()
        return None
    part.truncate(size)
    part.seek(size)
    return part


def finish(uuid: UUID) -> None:
    """Let the unfinished file be the finished one."""
    os.replace(_part_of(uuid), path_of(uuid))


def delete(uuid: UUID) -> None:
    """Delete an export's files, those there are."""
    path_of(uuid).unlink(missing_ok=True)
    _part_of(uuid).unlink(missing_ok=True)


def found() -> set[UUID]:
    """Return the exports that have a file, finished or not."""
    names = {one.name.partition(".")[0] for one in Path(settings.EXPORT_DIR).glob("*.csv*")}
    return {UUID(name) for name in names}


def _part_of(uuid: UUID) -> Path:
    return Path(settings.EXPORT_DIR) / f"{uuid}.csv.part"
