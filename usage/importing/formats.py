"""What a line says: Common and Combined Log Format, or one JSON object."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, NamedTuple

from config.contract import strictjson
from config.contract.bodies import instant
from config.contract.errors import ApiError
from usage.importing.errors import Unreadable
from usage.importing.logfile import MAX_LINE, Line

_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'
#: host ident user [time] "request" status bytes, and whatever follows.
_ACCESS = re.compile(
    rf"\S+ \S+ [^\[]*\[(?P<time>[^\]]*)\] (?P<request>{_QUOTED})"
    r" (?P<status>[1-9]\d\d) (?P<bytes>\d{1,18}|-)(?P<tail> .*)?"
)
_WHOLE_COMBINED = re.compile(rf" {_QUOTED} {_QUOTED}(?: .*)?")
_REQUEST = re.compile(r"(?P<method>[A-Za-z-]{1,32}) (?P<target>.+?)(?: HTTP/\d(?:\.\d)?)?")
# Not strptime: its month names are those of the operator's locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(
    rf"(\d\d)/({'|'.join(_MONTHS)})/(\d{{4}}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_STATUS = re.compile(r"[1-9]\d\d")
_NO_FORMAT = "neither Common or Combined Log Format nor JSON"
_CUT = "the last line is not whole: it has no line end"


class Request(NamedTuple):
    """One request of a log. `fields` are where units may be read from."""

    at: datetime
    method: str
    path: str  # without query and host
    status: int
    fields: Mapping[str, Any]


class Parser:
    """Reads the lines of one log, in their order."""

    def __init__(self) -> None:
        self._has_tails = False

    def parse(self, line: Line) -> Request:
        """Return the request of a line. Raises Unreadable with the reason."""
        if not line.fits:
            raise Unreadable(f"longer than {MAX_LINE} bytes")
        if line.raw.lstrip().startswith(b"{"):
            return _json_line(line.raw)
        found = _ACCESS.fullmatch(line.raw.decode("utf-8", "surrogateescape"))
        if found is None:
            raise Unreadable(_NO_FORMAT if line.ended else _CUT)
        self._refuse_cut(line, found["tail"])
        method, path = _request(found["request"])
        size = 0 if found["bytes"] == "-" else int(found["bytes"])
        return Request(
            _access_time(found["time"]), method, path, int(found["status"]), {"bytes": size}
        )

    def _refuse_cut(self, line: Line, tail: str | None) -> None:
        # The server may be in the middle of writing the last line. Its beginning
        # can look like a whole line of the shorter format; counted now, it would be
        # counted again when it is whole. A line that did end is taken as it is:
        # real logs hold broken user agents, and nothing is read from there.
        if line.ended:
            self._has_tails = self._has_tails or tail is not None
            return
        is_whole = _WHOLE_COMBINED.fullmatch(tail) if tail else not self._has_tails
        if not is_whole:
            raise Unreadable(_CUT)


def path_of(target: str) -> str:
    """Return the path of a request target: no scheme, no host, no query."""
    path = _ORIGIN.sub("", target, count=1) if "://" in target else target
    return path.partition("?")[0].partition("#")[0] or "/"


def _request(quoted: str) -> tuple[str, str]:
    # A request line that is none ("-" after a time-out, TLS on a plain port) was
    # still served and logged; it has no method and no path to filter by.
    found = _REQUEST.fullmatch(quoted[1:-1])
    return (found["method"].upper(), path_of(found["target"])) if found else ("-", "-")


@lru_cache(maxsize=4096)
def _access_time(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found and int(found[9]) < 60:
        offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
        try:
            return datetime(
                int(found[3]), _MONTHS.index(found[2]) + 1, int(found[1]),
                int(found[4]), int(found[5]), int(found[6]),
                tzinfo=timezone(-offset if found[7] == "-" else offset),
            ).astimezone(UTC)  # fmt: skip
        except (ValueError, OverflowError):
            pass
    raise Unreadable("its time is not one of the Common Log Format")


def _json_line(raw: bytes) -> Request:
    try:
        document = strictjson.loads(raw)
    except ApiError:
        raise Unreadable("not one valid JSON object") from None
    if not isinstance(document, dict):
        raise Unreadable("not one valid JSON object")
    for name in ("time", "method", "path"):
        if not isinstance(document.get(name), str):
            raise Unreadable(f"{name} is missing or not text")
    status = document.get("status")
    if isinstance(status, bool) or not _STATUS.fullmatch(str(status)):
        raise Unreadable("status is missing or not 100 to 999")
    try:
        at = instant(document["time"], field="time")
    except ApiError:
        raise Unreadable("time is not an RFC 3339 instant with an offset") from None
    return Request(
        at, document["method"].upper(), path_of(document["path"]), int(str(status)), document
    )
