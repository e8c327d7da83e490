"""The name of an event: the same line of the same source has the same one, for ever.

Changing anything here would count every log again that was imported before.
"""

import hashlib
import re
from pathlib import Path

from usage.importing.errors import CannotImport
from usage.importing.logfile import STDIN

MOST_CHARACTERS = 100
_DAY = r"(?:19|20)\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"
#: What rotation adds: `.gz`, `.1`, and a date with or without a time, also before `.log`.
_ROTATION = (
    re.compile(r"\.(?:gz|bz2|xz|zst)$"),
    re.compile(r"\.\d+$"),
    re.compile(rf"[-._]{_DAY}(?:[-_T]?\d{{2,10}})?(?=(?:\.[A-Za-z]\w*)?$)"),
)


def source_of(path: str) -> str:
    """Return the source label of a file that is not known yet: its name without what
    rotation usually adds. Which lines were counted does not hang on it (`identity`).

    Raises CannotImport for standard input and pipes, which have no name of their own.
    """
    if path == STDIN or (Path(path).exists() and not Path(path).is_file()):
        raise CannotImport("What is read has no file name: name it with --source")
    name = Path(path).name
    while shorter := _without_rotation(name):
        name = shorter
    return checked(name)


def _without_rotation(name: str) -> str | None:
    for pattern in _ROTATION:
        shorter = pattern.sub("", name)
        if shorter not in ("", name):
            return shorter
    return None


def checked(source: str) -> str:
    """Return a source label. Raises CannotImport for one that cannot be kept."""
    if not 1 <= len(source) <= MOST_CHARACTERS or not source.isprintable() or not source.strip():
        raise CannotImport(
            f"A source label has 1 to {MOST_CHARACTERS} printable characters: use --source"
        )
    return source


def prefix_of(source: str) -> str:
    """Return what the request ids of all events of a source begin with."""
    return f"log_{hashlib.sha256(source.encode()).hexdigest()[:16]}_"


def event_id(source: str, raw: bytes, ordinal: int, part: str = "") -> str:
    """Return the request id of the `ordinal`-th of the lines `raw` of a source.

    `raw` is without line end; ordinals count identical lines from 1. `part` tells logs
    of one source apart; the first of a source has none. 85 characters.
    """
    log = f"{source}\0{part}" if part else source
    digest = hashlib.sha256(b"%s\0%d\0%s" % (log.encode(), ordinal, raw))
    return prefix_of(source) + digest.hexdigest()
