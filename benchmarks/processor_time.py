"""Processor time of processes: what a busy neighbour on the machine does not change."""

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def seconds_of(pid: int) -> float:
    """Return what a process used so far, its children included, the ended ones too."""
    parents = _parents()
    family, found = {pid}, True
    while found:
        new = {child for child, parent in parents.items() if parent in family} - family
        family |= new
        found = bool(new)
    return sum(_used(one) for one in family) / _TICK


def parent_of(pid: int) -> int:
    """Return the parent of a process."""
    return _parents()[pid]


def _parents() -> dict[int, int]:
    listed = (int(one) for one in os.listdir("/proc") if one.isdigit())
    return {pid: int(fields[1]) for pid in listed if (fields := _fields(pid))}


def _used(pid: int) -> int:
    # Own time in user and system mode, and that of children that have ended.
    fields = _fields(pid)
    return sum(int(one) for one in fields[11:15]) if fields else 0


def _fields(pid: int) -> list[str]:
    """Return what /proc says after the name (which may hold blanks): the state comes first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
