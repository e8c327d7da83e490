"""Which requests of a log count."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from usage.importing.errors import CannotImport
from usage.importing.formats import Request

_STATUS = re.compile(r"(?P<class>[1-9])xx|(?P<low>[1-9]\d\d)(?:-(?P<high>[1-9]\d\d))?")


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Passes a request that fits one entry of every kind that has entries."""

    prefixes: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    methods: frozenset[str] = frozenset()
    statuses: tuple[range, ...] = ()

    def passes(self, request: Request) -> bool:
        """Tell whether the request counts."""
        if self.methods and request.method not in self.methods:
            return False
        if self.statuses and not any(request.status in one for one in self.statuses):
            return False
        if not self.prefixes and not self.patterns:
            return True
        return request.path.startswith(self.prefixes) or any(
            pattern.search(request.path) for pattern in self.patterns
        )


def line_filter(
    *,
    prefixes: Iterable[str] = (),
    patterns: Iterable[str] = (),
    methods: Iterable[str] = (),
    statuses: Iterable[str] = (),
) -> LineFilter:
    """Build a filter from what the operator typed. Raises CannotImport naming a bad entry."""
    return LineFilter(
        prefixes=tuple(prefixes),
        patterns=tuple(_pattern(text) for text in patterns),
        methods=frozenset(method.upper() for method in methods),
        statuses=tuple(_statuses(text) for text in statuses),
    )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise CannotImport(f"{text!r} is not a regular expression: {error}") from error


def _statuses(text: str) -> range:
    found = _STATUS.fullmatch(text.lower())
    if found is None:
        raise CannotImport(f"{text!r} is not a status: write 200, 2xx or 200-399")
    if found["class"]:
        low = int(found["class"]) * 100
        return range(low, low + 100)
    low = int(found["low"])
    high = int(found["high"] or low)
    if high < low:
        raise CannotImport(f"{text!r} is not a status range: {high} is below {low}")
    return range(low, high + 1)
