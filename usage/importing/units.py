"""How many units a request is worth."""

import re
from dataclasses import dataclass
from typing import Any

from usage.importing.errors import CannotImport, Unreadable
from usage.importing.formats import Request

MOST = 1_000_000_000
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
#: JSON fields that say a line's units without being asked for.
_OWN = ("value", "units")


@dataclass(frozen=True, slots=True)
class UnitsRule:
    """Units come from `field` of each line; without one, each line is worth `each`.

    A JSON line that brings `value` or `units` is worth that instead of `each`.
    Raises CannotImport for units or a field name that no line can have.
    """

    each: int = 1
    field: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.each <= MOST:
            raise CannotImport(f"A line is worth 1 to {MOST} units, not {self.each}")
        if self.field is not None and not _FIELD.fullmatch(self.field):
            raise CannotImport(f"{self.field!r} is not the name of a field")

    def __str__(self) -> str:
        return f"field {self.field}" if self.field else f"{self.each} each"

    def of(self, request: Request) -> int:
        """Return the units of a request; 0 where it used nothing.

        Raises Unreadable when the field is missing or holds no whole number of
        units up to 1,000,000,000.
        """
        if self.field is not None:
            if self.field not in request.fields:
                raise Unreadable(f"has no field {self.field}")
            return _units(self.field, request.fields[self.field])
        own = [name for name in _OWN if name in request.fields]
        if len(own) > 1:
            raise Unreadable("has both value and units")
        return _units(own[0], request.fields[own[0]]) if own else self.each


def _units(name: str, found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= MOST:
        raise Unreadable(f"{name} is not a whole number from 0 to {MOST}")
    return found
